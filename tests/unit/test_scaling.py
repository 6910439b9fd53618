"""Scaling on paper: the page says what is computed, and what is computed can be checked by hand."""

from __future__ import annotations

import pytest

from defectory.config import Config
from defectory.datasets.batches import MAX_BATCH
from defectory.detection.batch.plan import SHARD_LAYOUTS
from defectory.images.batch.requests import MAX_PICTURES
from defectory.sensors.service.requests import MAX_MACHINES
from tools import scaling
from tools.scaling import estimate_machines, estimate_pictures, estimate_scenes


def test_the_page_has_the_tables_that_are_computed():
    page = scaling.PAGE.read_text("utf-8")

    assert scaling.filled(page) == page, "run: python -m tools.scaling"
    for name, table in scaling.tables().items():
        assert f"<!-- {name} -->\n{table}\n" in page
    assert f"As of {scaling.load()['as_of']}." in page


def test_it_is_computed_from_what_the_code_has():
    measures, fields = {name: entry["value"] for name, entry in scaling.load()["measures"].items()}, Config.model_fields

    assert (measures["run_pictures"], measures["drawn_batch"]) == (MAX_BATCH, MAX_PICTURES)
    assert measures["request_machines"] == MAX_MACHINES
    assert measures["composed_shard"] == SHARD_LAYOUTS["compositor"] == SHARD_LAYOUTS["gligen"]
    assert measures["inpainted_shard"] == SHARD_LAYOUTS["bedrock"]
    assert fields["image_concurrency"].default == scaling.IMAGE_CONCURRENCY
    assert fields["fleet_concurrency"].default == scaling.FLEET_CONCURRENCY
    for name, most in (
        ("image_concurrency", scaling.MOST_IMAGE_CONCURRENCY),
        ("fleet_concurrency", scaling.MOST_FLEET_CONCURRENCY),
    ):
        assert most in [limit.le for limit in fields[name].metadata if hasattr(limit, "le")]


def test_a_thousand_drawn_pictures_by_hand():
    """1,000 x 1.5 s, ten at a time, are 150 s; planned in 60 s; assembled in 1,000 x 8 ms."""
    estimate = estimate_pictures(1000, "drawn", "default", 10)

    assert estimate.seconds == pytest.approx(150 + 60 + 8)
    assert estimate.binds == "image_concurrency = 10"
    computing = (1000 * 1.5 + 8) * 3008 / 1024 * 0.0000133334
    requests = 102 * 0.0000002 + 206 * 0.000025 + 1000 * (6 * 0.000005 + 4 * 0.0000004)
    assert estimate.dollars == pytest.approx(computing + requests)
    assert estimate.gigabytes == pytest.approx(2.2)


def test_what_is_painted_waits_for_the_model_and_costs_what_the_model_does():
    """15 requests a minute are 0.25 a second, so 1,000 take 4,000 s; they cost 70 USD and little else."""
    estimate = estimate_pictures(1000, "painted", "new", 10)

    assert estimate.seconds == pytest.approx(4000 + 60 + 8)
    assert estimate.binds == "requests a minute of the image model"
    assert 70 < estimate.dollars < 71


def test_of_equals_the_quota_is_named():
    assert estimate_pictures(1000, "drawn", "new", 10).binds == "Lambda concurrent executions"


def test_a_thousand_scenes_by_hand():
    """1,000 x 0.15 s, ten at a time, are 15 s; planned and assembled in 1,000 x 3 ms; in 16 shards."""
    estimate = estimate_scenes(1000, "composed", "default", 10)

    assert estimate.seconds == pytest.approx(15 + 3)
    computing = (1000 * 0.15 + 3) * 3008 / 1024 * 0.0000133334
    assert estimate.dollars == pytest.approx(computing + 18 * 0.0000002 + 40 * 0.000025 + (2000 + 32) * 0.000005)
    # Four calls each of a model that takes 15 a minute; 0.07 USD a call
    painted = estimate_scenes(1000, "inpainted", "new", 10)
    assert painted.seconds == pytest.approx(1000 * 4 * 4 + 3)
    assert 280 < painted.dollars < 284
    # 6 s each on four instances of 1.408 USD an hour
    transformed = estimate_scenes(1000, "transformed", "default", 10)
    assert transformed.seconds == pytest.approx(1500 + 3)
    assert transformed.dollars == pytest.approx(6000 / 3600 * 1.408, abs=0.05)


def test_a_hundred_machines_by_hand():
    """13 of a kind each: 8 requests of 300 + 13 x 6 = 378 s, one build at a time, or all as fast as one."""
    new, raised = (estimate_machines(100, "catalogue", *account) for account in (("new", 5), ("default", 50)))

    assert (new.seconds, new.binds) == (pytest.approx(8 * 378), "CodeBuild builds of a size at a time")
    assert raised.seconds == pytest.approx(378), "no fleet is faster than one request"
    assert new.dollars == pytest.approx(8 * 378 / 60 * 0.022 + 8 * 60 * 0.000025 + 100 * 7 * 0.000005)


def test_more_takes_longer_and_costs_more():
    for estimate, kinds, counts in (
        (estimate_pictures, ("drawn", "painted"), scaling.PICTURES),
        (estimate_scenes, ("composed", "inpainted", "transformed"), scaling.SCENES),
        (estimate_machines, ("catalogue", "bedrock"), scaling.MACHINES),
    ):
        for kind in kinds:
            estimates = [estimate(count, kind, "default", 10) for count in counts]
            assert estimates == sorted(estimates, key=lambda each: (each.seconds, each.dollars))
