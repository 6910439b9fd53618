"""Costs: the estimate before a batch and the count after it."""

from __future__ import annotations

import pytest

from defectory.aws.image_usage import Usage
from defectory.config import Config
from defectory.errors import InputError
from defectory.images.costs import actual_cost, estimate_cost, load_prices, used_by
from defectory.images.items import Item, ItemRecord

INPAINT = "us.stability.stable-image-inpaint-v1:0"
SD35 = "stability.sd3-5-large-v1:0"
MODELS = {"bedrock-inpaint": INPAINT, "bedrock-zero-shot": SD35}


@pytest.fixture
def prices(tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text(
        "as_of: 2026-11-01\ncurrency: EUR\nmodels:\n"
        "  stability.stable-image-inpaint-v1:0: {picture: 0.07, seconds: 16}\n"
        "  stability.sd3-5-large-v1:0: {picture: 0.08, seconds: 10}\n"
    )
    return load_prices(file)


def items(renderer, count):
    return [Item(renderer=renderer, defect="scratch", seed=seed) for seed in range(count)]


def test_an_estimate_counts_what_calls_a_model_and_leaves_out_what_does_not(prices):
    planned = items("bedrock-inpaint", 12) + items("bedrock-zero-shot", 3) + items("procedural", 500)

    cost = estimate_cost(planned, MODELS, prices, at_a_time=5)

    assert cost.total == pytest.approx(12 * 0.07 + 3 * 0.08)
    assert {line.model_id: line.pictures for line in cost.lines} == {INPAINT: 12, SD35: 3}
    assert cost.minutes == pytest.approx((3 * 16 + 1 * 10) / 60, abs=0.05)
    assert cost.complete
    assert str(cost) == "15 pictures: 1.08 EUR (prices of 2026-11-01)"


def test_offline_renderers_cost_nothing():
    cost = estimate_cost(items("transplant", 5), MODELS)

    assert (cost.total, cost.lines, cost.minutes) == (0, (), 0)


def test_a_model_without_a_price_is_named_instead_of_guessed(prices):
    planned = items("bedrock-inpaint", 2) + items("bedrock-zero-shot", 4)

    cost = estimate_cost(planned, {**MODELS, "bedrock-zero-shot": "stability.sd9-large-v1:0"}, prices)

    assert not cost.complete
    assert cost.total == pytest.approx(0.14)
    assert "without stability.sd9-large-v1:0, whose price is unknown" in str(cost)


def test_what_was_made_is_counted_with_what_was_withheld_apart(prices):
    cost = actual_cost({INPAINT: Usage(pictures=9, filtered=2, failed=1), SD35: Usage(pictures=1)}, prices)

    assert cost.total == pytest.approx(9 * 0.07 + 0.08)
    assert cost.filtered == 2
    assert str(cost).startswith("10 pictures: 0.71 EUR")
    assert "2 withheld by content filters" in str(cost)


def test_records_tell_what_was_done_where_no_client_counted():
    outcomes = ["made", "made", "invisible", "duplicate", "filtered", "failed"]
    records = [
        ItemRecord(id=f"scratch-{number}", item=item, outcome=outcome)
        for number, (item, outcome) in enumerate(zip(items("bedrock-inpaint", 6), outcomes, strict=True))
    ]
    drawn = ItemRecord(id="scratch-9", item=items("procedural", 1)[0], outcome="made")

    assert used_by([*records, drawn], MODELS) == {INPAINT: Usage(pictures=4, filtered=1, failed=1)}


def test_the_models_that_are_configured_by_default_have_prices():
    defaults = [Config.model_fields[name].default for name in ("image_model_id", "inpaint_model_id")]

    assert all(estimate_cost(items("bedrock-inpaint", 1), {"bedrock-inpaint": each}).total > 0 for each in defaults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("currency: USD\nmodels: {}", "prices: as_of"),
        ("as_of: 2026-01-01\ncurrency: dollars\nmodels: {}", "prices: currency"),
        ("as_of: 2026-01-01\ncurrency: USD\nmodels: {a: {picture: -1}}", "prices: models.a.picture"),
        ("a: [", "prices: must be a YAML file"),
        ("", "prices"),
    ],
)
def test_a_wrong_file_says_where_and_what(tmp_path, text, message):
    file = tmp_path / "prices.yaml"
    file.write_text(text)

    with pytest.raises(InputError, match=message):
        load_prices(file)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_prices(tmp_path / "none.yaml")
