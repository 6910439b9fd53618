"""Making pictures: each once, with its mask beside it, whatever happens in between."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.aws.bedrock_runtime import ModelBusyError
from defectory.errors import ContentFilteredError, InputError, ServiceError
from tests.support.image_server import INPAINT
from tests.unit.lambdas.images.conftest import NAME, SIDE, plate, spot_mask


class Scripted:
    """Models whose renderer fails, in turn, as the test says."""

    name, needs_photo = "bedrock-inpaint", True

    def __init__(self, *answers: Exception):
        self.answers = list(answers)
        self.by_renderer = {self.name: INPAINT}

    def check(self, name):
        pass

    def renderer(self, name):
        return self

    def render(self, photo, order):
        raise self.answers.pop(0)


def test_pictures_are_made_where_the_answer_says_with_masks_of_what_changed(factory, wish):
    answer = factory.make(**wish)

    assert (answer["status"], answer["outcomes"]) == ("COMPLETE", {"made": 2})
    for picture in answer["pictures"]:
        record = factory.read(f"ann/plates/records/{picture['id']}.json")
        image, mask = factory.image(picture["image"]), factory.image(picture["mask"])
        photo = factory.image(record["item"]["source"])
        changed = (image != photo).any(axis=2)

        assert picture["image"] == f"ann/plates/images/{picture['id']}.png"
        assert mask.shape == (SIDE, SIDE)
        assert set(np.unique(mask)) == {0, 255}
        assert changed[mask > 0].mean() > 0.5
        assert 0 < picture["severity"] <= 1
        assert {f"thumbnails/{picture['id']}.jpg", f"records/{picture['id']}.json"} <= factory.keys("ann/plates/")


def test_asked_again_nothing_is_made_anew(factory, wish):
    first = factory.make(**wish)
    stored = {entry["Key"]: entry["LastModified"] for entry in factory.s3.list_objects_v2(Bucket=NAME)["Contents"]}
    factory.upload("ann/photos/0.png", b"gone bad")

    assert factory.make(**wish) == first
    again = {entry["Key"]: entry["LastModified"] for entry in factory.s3.list_objects_v2(Bucket=NAME)["Contents"]}
    assert {key: time for key, time in again.items() if "plates" in key} == {
        key: time for key, time in stored.items() if "plates" in key
    }


def test_a_defect_is_put_where_the_mask_says(factory, wish):
    factory.upload("ann/mask.png", spot_mask())

    [picture] = factory.make(**{**wish, "defect": "oil", "count": 1}, mask="ann/mask.png")["pictures"]
    mask = factory.image(picture["mask"]) > 0

    assert mask.any()
    assert (mask & (spot_mask() == 0)).sum() < 0.5 * mask.sum()


def test_a_real_defect_is_moved_and_its_donor_is_on_record(factory, wish):
    for number in range(2):
        factory.upload(f"ann/real/images/{number}.png", plate(20 + number, spot=True))
        factory.upload(f"ann/real/masks/{number}.png", spot_mask())

    answer = factory.make(**{**wish, "renderer": "transplant", "defect": "spot", "count": 3}, donors="ann/real/")

    assert answer["outcomes"] == {"made": 3}
    for picture in answer["pictures"]:
        record = factory.read(f"ann/plates/records/{picture['id']}.json")
        donor = record["parameters"]["donor"]
        assert len(donor) == 64
        assert donor != record["source_sha256"]
        mask, photo = factory.image(picture["mask"]) > 0, factory.image(record["item"]["source"])
        assert factory.image(picture["image"])[mask].mean() < photo[mask].mean() - 20, "a dark spot stays dark"


def test_what_is_drawn_is_as_large_as_the_real_defects_that_were_given(factory, wish):
    wish |= {"defect": "oil", "count": 3}
    areas = {}
    for name, radius in (("small", 4), ("large", 22)):
        factory.upload(f"ann/{name}/images/oil/1.png", plate(20))
        factory.upload(f"ann/{name}/masks/oil/1.png", spot_mask(radius))

        made = factory.make(**{**wish, "dataset": f"oil-{name}"}, donors=f"ann/{name}/")["pictures"]
        areas[name] = sum((factory.image(picture["mask"]) > 0).sum() for picture in made if picture["mask"])

    assert areas["large"] > 4 * areas["small"]


def test_an_image_model_paints_and_the_answer_says_what_it_cost(factory, wish, image_models, measured):
    answer = factory.make(**{**wish, "renderer": "bedrock-inpaint", "count": 1})

    assert answer["outcomes"] == {"made": 1}, answer
    assert answer["cost"]["total"] > 0
    [record] = [factory.read(key) for key in factory.bucket.keys("ann/plates/records/")]
    assert record["parameters"]["model_id"] == "us.stability.stable-image-inpaint-v1:0"
    assert measured("Pictures") == {("made",): [float(len(answer["pictures"]))]}
    assert measured("ImageModelCost") == {(): [answer["cost"]["total"]]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"no picture", "PNG"),
        (plate(1)[:40, :40], "64 pixels"),
    ],
)
def test_a_bad_photo_fails_alone_and_is_named(factory, wish, content, words):
    factory.upload("ann/photos/1.png", content)

    answer = factory.make(**{**wish, "count": 3})
    [failed] = [picture for picture in answer["pictures"] if picture["outcome"] == "failed"]

    assert (answer["status"], answer["outcomes"]) == ("PARTIAL", {"failed": 1, "made": 2})
    assert "ann/photos/1.png" in failed["reason"]
    assert words in failed["reason"]
    assert not failed["image"]
    assert f"images/{failed['id']}.png" not in factory.keys("ann/plates/")


def test_a_picture_that_failed_is_made_once_its_photo_is_mended(factory, wish):
    factory.upload("ann/photos/1.png", b"broken")
    factory.make(**{**wish, "count": 3})
    factory.upload("ann/photos/1.png", plate(1))

    assert factory.make(**{**wish, "count": 3})["outcomes"] == {"made": 3}


@pytest.mark.parametrize(
    ("mask", "words"),
    [(np.zeros((SIDE, SIDE), np.uint8), "empty"), (np.full((SIDE, SIDE), 255, np.uint8), "marked")],
)
def test_a_bad_mask_fails_every_picture_with_the_reason(factory, wish, mask, words):
    factory.upload("ann/mask.png", mask)

    answer = factory.make(**wish, mask="ann/mask.png")

    assert answer["status"] == "FAILED"
    assert all("ann/mask.png" in picture["reason"] and words in picture["reason"] for picture in answer["pictures"])


def test_a_picture_that_a_filter_withheld_is_counted_and_never_data(factory, wish):
    factory.models = Scripted(ContentFilteredError("The filter withheld it."), ContentFilteredError("Again."))

    answer = factory.make(**{**wish, "renderer": "bedrock-inpaint"})

    assert (answer["status"], answer["outcomes"]) == ("FAILED", {"filtered": 2})
    assert answer["cost"]["filtered"] == 2
    assert not [key for key in factory.keys("ann/plates/") if not key.startswith("records/")]


@pytest.mark.parametrize("error", [ModelBusyError("throttled"), ServiceError("refused")])
def test_a_service_that_fails_is_for_the_caller_to_try_again_and_goes_on_from_there(factory, wish, error):
    factory.models = Scripted(ContentFilteredError("withheld"), error)

    with pytest.raises(type(error)):
        factory.make(**{**wish, "renderer": "bedrock-inpaint"})

    records = [factory.read(key) for key in factory.bucket.keys("ann/plates/records/")]
    assert {(record["outcome"], record["reason"]) for record in records} == {
        *(("filtered", "withheld"), ("failed", str(error))),
    }
    factory.models = Scripted(ContentFilteredError("the second"))
    answer = factory.make(**{**wish, "renderer": "bedrock-inpaint"})
    assert [picture["reason"] for picture in answer["pictures"]] == ["withheld", "the second"]


def test_a_bucket_that_fails_half_way_leaves_no_record(factory, wish, monkeypatch):
    planned = factory.plan(**wish)
    put = factory.bucket._put

    def full(key: str, content: bytes) -> None:
        if "/masks/" in key:
            raise ServiceError("S3 is out of order")
        put(key, content)

    monkeypatch.setattr(factory.bucket, "_put", full, raising=False)
    with pytest.raises(ServiceError):
        factory.make_planned(planned, 0)

    assert not factory.keys("ann/plates/records/")


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ([], "event"),
        ({}, "user_id"),
        ({"count": 11}, "count"),
        ({"count": True}, "count"),
        ({"source": "bob/photos/"}, "source"),
        ({"defect": "unheard_of"}, "defect"),
        ({"plan": "x"}, "plan"),
    ],
)
def test_a_bad_event_is_answered_by_field_and_rule_and_writes_nothing(factory, wish, event, field):
    before = factory.keys()

    answer = factory.make({**wish, **event} if event else event)

    assert answer["status"] == "REJECTED"
    assert answer["error"]["field"] == field
    assert factory.keys() == before


@pytest.mark.parametrize(("run", "want"), [("ann/gone.json", 0), (None, 99), ("ann/photos/0.png", 0)])
def test_a_picture_of_no_run_is_an_error(factory, wish, run, want):
    planned, line = factory.plan(**wish), {"want": want, "seed": 1}

    with pytest.raises(InputError):
        factory.make({"Items": [line], "BatchInput": {"run": run or planned["run"]}})


def test_a_batch_makes_all_that_it_can_before_it_fails_and_what_is_missing_when_it_is_tried_again(
    factory, wish, monkeypatch
):
    planned = factory.plan(**{**wish, "count": 3})
    second = factory.manifest(planned)[1]["source"]
    find = factory.bucket.find

    def out_of_order(key: str, **bounds: int) -> bytes | None:
        if key == second:
            raise ServiceError("S3 is out of order")
        return find(key, **bounds)

    monkeypatch.setattr(factory.bucket, "find", out_of_order, raising=False)
    with pytest.raises(ServiceError, match="out of order"):
        factory.make_planned(planned)
    outcomes = sorted(factory.read(key)["outcome"] for key in factory.bucket.keys("ann/plates/records/"))
    monkeypatch.undo()

    assert outcomes == ["failed", "made", "made"]
    assert factory.make_planned(planned) == {"outcomes": {"made": 3}}
    assert len(factory.keys("ann/plates/images/")) == 3
