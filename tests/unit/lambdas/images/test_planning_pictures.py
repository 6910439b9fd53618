"""What the plan step makes of a request: which defect on which photo, with which mask and donors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.errors import InputError
from defectory.images.batch.models import ImageModels
from defectory.images.batch.requests import (
    MAX_BATCH,
    RULES,
    BatchRequest,
    parse_batch_request,
    parse_pictures_request,
)
from defectory.images.batch.runs import ManifestItem, Run
from tests.unit.lambdas.images.conftest import plate, spot_mask

PLAN = {
    "wants": [
        {"renderer": "procedural", "defect": "scratch", "count": 2},
        {"renderer": "procedural", "defect": "dent", "count": 1},
    ],
    "classes": {"scratch": "Kratzer", "dent": "dent"},
}


def refused(factory, **request) -> InputError:
    before = factory.keys()
    with pytest.raises(InputError) as caught:
        factory.plan(**request)
    assert factory.keys() == before, "nothing is written of what cannot be made"
    return caught.value


def stored(factory, planned) -> dict:
    """What was planned: the run, with its items as the functions read them."""
    run = Run.model_validate(factory.read(planned["run"]))
    items = [run.item(ManifestItem.model_validate(line)).model_dump() for line in factory.manifest(planned)]
    return {**run.model_dump(mode="json"), "items": items}


def test_the_plan_is_stored_for_the_execution_and_the_status_says_that_it_runs(factory, wish):
    planned = factory.plan(**wish)
    run, status = stored(factory, planned), factory.read("ann/plates/status.json")

    assert (planned["run"], planned["count"]) == ("ann/plates/runs/run-1/run.json", 2)
    assert planned["manifest"] == "ann/plates/runs/run-1/manifest.jsonl"
    assert "0 pictures: 0.00 USD" in planned["estimate"]
    assert (status["status"], status["planned"], status["execution"]) == ("RUNNING", 2, "run-1")
    assert {item["source"] for item in run["items"]} < {f"ann/photos/{number}.png" for number in range(3)}


def test_the_same_request_comes_to_the_same_items_and_another_seed_to_others(factory, wish):
    first = stored(factory, factory.plan(**wish))
    again = stored(factory, factory.plan("run-2", **wish))
    other = stored(factory, factory.plan("run-3", **wish, seed=1))

    assert first["items"] == again["items"]
    assert not [item for item in other["items"] if item in first["items"]]


@pytest.mark.parametrize(
    ("source", "photos"),
    [
        ("ann/photos/", {"0.png", "1.png", "2.png"}),
        ("ann/photos", {"0.png", "1.png", "2.png"}),
        ("ann/photos/1.png", {"1.png"}),
    ],
)
def test_a_source_is_a_photo_or_a_folder_and_its_neighbours_are_not_meant(factory, wish, source, photos):
    for key in ("ann/photos/1.png.bak", "ann/photos2/9.png", "ann/photos/notes.txt", "ann/photos/.hidden.png"):
        factory.upload(key, b"other")

    run = stored(factory, factory.plan(**{**wish, "source": source, "count": 9}))

    assert {item["source"].removeprefix("ann/photos/") for item in run["items"]} == photos


def test_a_plan_of_several_kinds_is_taken_itself_or_from_the_bucket(factory):
    common = {"user_id": "ann", "dataset": "plates", "source": "ann/photos/"}
    factory.upload("ann/plan.json", json.dumps(PLAN).encode())

    given = stored(factory, factory.plan(**common, plan=PLAN))
    kept = stored(factory, factory.plan(**common, plan="ann/plan.json"))

    assert given == kept
    assert [item["defect"] for item in given["items"]] == ["scratch", "scratch", "dent"]
    assert given["classes"] == {"scratch": "Kratzer"}


def test_one_mask_is_for_all_photos_and_a_folder_has_one_for_each(factory, wish):
    factory.upload("ann/mask.png", spot_mask())
    for number in range(3):
        factory.upload(f"ann/places/{number}_mask.png", spot_mask())

    one = stored(factory, factory.plan(**wish, mask="ann/mask.png"))
    each = stored(factory, factory.plan(**{**wish, "count": 3}, mask="ann/places/"))

    assert {item["mask"] for item in one["items"]} == {"ann/mask.png"}
    for item in each["items"]:
        assert item["mask"] == item["source"].replace("photos", "places").replace(".png", "_mask.png")


def test_a_photo_without_a_mask_of_its_own_is_named(factory, wish):
    factory.upload("ann/places/0.png", spot_mask())

    error = refused(factory, **{**wish, "count": 3}, mask="ann/places/")

    assert error.field == "mask"
    assert "ann/photos/" in str(error)


def test_donors_are_pairs_of_photo_and_mask_by_kind(factory, wish):
    for kind in ("scratch", "dent"):
        factory.upload(f"ann/real/images/{kind}/1.png", plate(7, spot=True))
        factory.upload(f"ann/real/masks/{kind}/1_mask.png", spot_mask())
    factory.upload("ann/real/images/scratch/unmasked.png", plate(8))

    run = stored(factory, factory.plan(**{**wish, "renderer": "transplant"}, donors="ann/real"))

    assert run["donors"] == [
        {"kind": "scratch", "image": "ann/real/images/scratch/1.png", "mask": "ann/real/masks/scratch/1_mask.png"}
    ]


def test_a_bedrock_batch_says_beforehand_what_it_will_cost(factory, wish):
    planned = factory.plan(**{**wish, "renderer": "bedrock-inpaint", "count": 10})
    estimate = factory.read("ann/plates/status.json")["estimate"]

    assert planned["estimate"].startswith("10 pictures: ")
    assert 0 < estimate["total"] == pytest.approx(10 * estimate["lines"][0]["price"])
    assert estimate["lines"][0]["model_id"].endswith("stable-image-inpaint-v1:0")
    assert estimate["minutes"] > 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"defect": "unheard_of"}, "defect"),
        ({"source": ""}, "source"),
        ({"source": "ann/nothing/"}, "source"),
        ({"mask": "ann/gone.png"}, "mask"),
        ({"renderer": "transplant"}, "donors"),
        ({"renderer": "transplant", "donors": "ann/photos/"}, "donors"),
    ],
)
def test_what_cannot_be_made_is_refused_by_field_and_nothing_is_written(factory, wish, change, field):
    assert refused(factory, **{**wish, **change}).field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": "../bob"}, "user_id"),
        ({"user_id": "ann\n"}, "user_id"),
        ({"dataset": ""}, "dataset"),
        ({"dataset": "a/b"}, "dataset"),
        ({"renderer": "magic"}, "renderer"),
        ({"renderer": ""}, "renderer"),
        ({"defect": "Scratch!"}, "defect"),
        ({"count": 0}, "count"),
        ({"count": MAX_BATCH + 1}, "count"),
        ({"count": "3"}, "count"),
        ({"count": 1.5}, "count"),
        ({"source": "bob/photos/"}, "source"),
        ({"source": "annabel/photos/"}, "source"),
        ({"source": "ann/"}, "source"),
        ({"source": "ann/plates/images/"}, "source"),
        ({"source": "ann/plates"}, "source"),
        ({"source": "ann/" + "ä" * 511}, "source"),
        ({"plan": "ann/" + "p" * 1021, "renderer": None, "defect": "", "count": 0}, "plan"),
        ({"mask": "bob/mask.png"}, "mask"),
        ({"donors": "bob/real/"}, "donors"),
        ({"seed": -1}, "seed"),
        ({"prompt": "x" * 10_001}, "prompt"),
        ({"plan": PLAN}, "renderer"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_field(wish, change, field):
    with pytest.raises(InputError) as caught:
        parse_batch_request({**wish, **change})

    assert caught.value.field == field


@given(
    field=st.sampled_from([*BatchRequest.model_fields, "another"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    ),
)
def test_whatever_a_field_holds_is_taken_or_refused_by_its_name(field, value):
    event = {"user_id": "ann", "dataset": "plates", "renderer": "procedural", "defect": "dent", "count": 1}

    for parse in (parse_batch_request, parse_pictures_request):
        try:
            request = parse({**event, field: value})
        except InputError as error:
            assert error.field in RULES or error.field == field
        else:
            assert getattr(request, field) == value


@pytest.mark.parametrize("missing", ["user_id", "dataset", "renderer", "defect", "count"])
def test_what_is_missing_is_named(wish, missing):
    del wish[missing]

    with pytest.raises(InputError, match=missing):
        parse_batch_request(wish)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("ann/gone.json", "gone"),
        ("bob/plan.json", "below ann/"),
        ("ann/photos/0.png", "JSON"),
        ({"wants": []}, "balanced"),
        ({"wants": [{"renderer": "procedural", "defect": "scratch", "count": MAX_BATCH // 2 + 1}] * 2}, "Divide"),
        ({"wants": [{"renderer": "procedural", "defect": "scratch"}]}, "wants.0.count"),
        ({"format": "another"}, "format"),
        ({"wants": [{"renderer": "procedural", "defect": "dent", "count": 1, "mask": "bob/m.png"}]}, "below ann/"),
    ],
)
def test_a_plan_that_is_none_is_refused_with_the_place(factory, plan, words):
    error = refused(factory, user_id="ann", dataset="plates", source="ann/photos/", plan=plan)

    assert words in str(error)


def test_a_renderer_whose_model_is_not_deployed_is_refused_with_the_setting(factory, wish):
    factory.models = ImageModels("us-west-2", "", "")

    for renderer, setting in (("bedrock-inpaint", "inpaint_model_id"), ("bedrock-zero-shot", "image_model_id")):
        error = refused(factory, **{**wish, "renderer": renderer})
        assert (error.field, setting in error.fix) == ("renderer", True)


def test_only_pictures_from_a_text_need_no_photo(factory, wish):
    wish |= {"renderer": "bedrock-zero-shot", "source": ""}

    assert {item["source"] for item in stored(factory, factory.plan(**wish))["items"]} == {""}


@pytest.mark.parametrize(
    ("renderer", "count", "batch", "tolerated"),
    [
        ("procedural", 3, 10, 20),
        ("procedural", 101, 10, 20),
        ("procedural", 1000, 10, 200),
        ("bedrock-inpaint", 3, 1, 20),
    ],
)
def test_what_is_drawn_is_made_in_batches_and_a_fifth_may_fail(factory, wish, renderer, count, batch, tolerated):
    planned = factory.plan(**{**wish, "renderer": renderer, "count": count})

    assert (planned["count"], planned["batch"], planned["tolerated"]) == (count, batch, tolerated)


def test_a_line_of_the_manifest_is_keys_and_no_data(factory, wish):
    planned = factory.plan(**wish, prompt="a deep scratch " * 600)

    [line, _] = factory.manifest(planned)
    assert line.keys() <= {"want", "seed", "source", "mask"}
    assert stored(factory, planned)["items"][0]["prompt"].startswith("a deep scratch")
