"""Rules over images of a camera: by figures, in every order, twice, and beside images that cannot be judged."""

from __future__ import annotations

import itertools
import json
import random
from datetime import timedelta

import pytest

from defectory.aws.state_machine import StateMachine
from defectory.detection.safety.frames import Frame
from defectory.detection.safety.records import BrokenRule, SafetyRecord
from defectory.detection.safety.starting import FrameRegistrar
from lambdas.start_safety_check import handler as module
from tests.unit.lambdas.inspection.conftest import FakeStepFunctions
from tests.unit.lambdas.safety.conftest import NOW, upload_of


def state_of(upload, broken: str, *, min_frames: int = 3, within: int = 60, repeat: int = 15) -> dict:
    """What the machine knows of an image: ``b`` breaks hard hats, ``.`` breaks nothing, ``u`` is unreadable."""
    rule = BrokenRule(rule="hard hats", min_frames=min_frames, message="hard hats: person", objects=1)
    fields = {"status": "UNREADABLE", "reason": "It is empty."} if broken == "u" else {"status": "DETECTED"}
    record = SafetyRecord.of(
        upload,
        now=NOW,
        retention=timedelta(days=30),
        camera="dock 1",
        within_minutes=within,
        repeat_minutes=repeat,
        broken_rules=(rule,) if broken == "b" else (),
        **fields,
    )
    return {"upload": upload.model_dump(), "record": record.model_dump(mode="json", exclude_none=True)}


@pytest.fixture
def watch(recorder, results, frames):
    """Register images, one a second, record them in an order of their own, and say what each ended as."""

    def watch(pattern: str, order=None, *, seconds: int = 1, registered: bool = True, **rules) -> dict[int, str]:
        uploads = [upload_of(number * seconds) for number in range(len(pattern))]
        for upload in uploads if registered else ():
            frames.register(Frame.of("dock 1", upload.uploaded_at, upload.key, upload.inspection_id), NOW)
        for number in order if order is not None else range(len(pattern)):
            recorder.record(state_of(uploads[number], pattern[number], **rules), NOW)
        return {number: results.get(upload.inspection_id).outcome for number, upload in enumerate(uploads)}

    return watch


@pytest.fixture
def told(results):
    """The seconds of the images that people are told of."""
    return lambda: [int(row.key[-9:-4]) for row in results.pending("alert", NOW + timedelta(hours=1))]


@pytest.mark.parametrize(
    ("pattern", "outcomes", "seconds"),
    [
        ("bb.", ["PENDING", "PENDING", "OK"], []),
        ("bbb", ["PENDING", "PENDING", "ALERT"], [2]),
        # Within a quarter of an hour people are told once, rows say more.
        ("bbbb.bbb", [*["PENDING"] * 2, *["ALERT"] * 2, "OK", *["PENDING"] * 2, "ALERT"], [2]),
        ("bb.bb.b", ["PENDING", "PENDING", "OK", "PENDING", "PENDING", "OK", "PENDING"], []),
        # An unreadable image neither ends a run nor lengthens it.
        ("bbu", ["PENDING", "PENDING", "UNREADABLE"], []),
        ("bubub", ["PENDING", "UNREADABLE", "PENDING", "UNREADABLE", "ALERT"], [4]),
    ],
)
def test_three_images_in_a_row_make_an_alert(watch, told, pattern, outcomes, seconds):
    assert list(watch(pattern).values()) == outcomes
    assert told() == seconds


def test_one_image_is_enough_where_one_is_asked_for(watch, told):
    assert watch("b.b", min_frames=1) == {0: "ALERT", 1: "OK", 2: "ALERT"}
    assert told() == [0]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_whatever_the_order_three_in_a_row_are_told_of_once_by_the_last(watch, told, order):
    outcomes = watch("bbb", order)

    assert outcomes[order[-1]] == "ALERT"
    assert told() == [order[-1]]


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 2, 0, 1), (2, 0, 3, 1)])
def test_an_image_that_is_still_worked_on_joins_no_run(watch, told, order):
    # Three broken ones around one that is settled last, and breaks nothing.
    assert "ALERT" not in watch("b.bb", order).values()
    assert told() == []


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 2, 0, 1)])
def test_the_image_that_closes_the_gap_tells(watch, told, order):
    assert watch("bbbb", order, min_frames=4)[1] == "ALERT"
    assert told() == [1]


def test_whatever_the_order_there_is_an_alert_exactly_where_there_is_a_run(frames):
    generator = random.Random(7)
    for number in range(6):
        pattern = "".join(generator.choice("bbb.") for _ in range(6))
        # Of a camera of its own each time: two hours apart.
        uploads = [upload_of(number * 7200 + second) for second in range(6)]
        for upload in uploads:
            frames.register(Frame.of("dock 1", upload.uploaded_at, upload.key, upload.inspection_id), NOW)
        order = generator.sample(range(6), 6)
        runs = [settle(frames, uploads[second], pattern[second]) for second in order]
        assert (3 in runs) is ("bbb" in pattern), (pattern, order)


def settle(frames, upload, kind: str) -> int:
    """How many in a row there are then, 0 for an image that breaks nothing."""
    frame = Frame.of("dock 1", upload.uploaded_at, upload.key, upload.inspection_id)
    frames.settle(frame, ["hard hats"] if kind == "b" else [], attempt=1, now=NOW)
    return frames.count_run(frame, "hard hats", enough=3, within=timedelta(hours=1)) if kind == "b" else 0


def test_the_same_upload_twice_counts_once(watch, recorder, told):
    watch("bb")
    for _ in range(3):
        recorder.record(state_of(upload_of(1), "b"), NOW)

    assert told() == []


def test_a_retry_after_the_claim_still_tells(watch, recorder, results, told, monkeypatch):
    watch("bb")
    upload = upload_of(2)
    with monkeypatch.context() as patch:
        patch.setattr(type(results), "put", refuse)
        with pytest.raises(RuntimeError, match="throttled"):
            recorder.record(state_of(upload, "b"), NOW)

    recorder.record(state_of(upload, "b"), NOW)

    assert told() == [2]


def refuse(*_: object) -> bool:
    raise RuntimeError("throttled")


@pytest.mark.parametrize(("minutes", "outcome"), [(2, "ALERT"), (1, "PENDING")])
def test_images_that_are_further_apart_than_asked_are_not_in_a_row(watch, minutes, outcome):
    # One a minute: the third is two minutes after the first.
    assert watch("bbb", seconds=60, within=minutes)[2] == outcome


@pytest.mark.parametrize(("seconds", "told_at"), [(299, [0]), (300, [0, 900])])
def test_of_a_rule_that_stays_broken_people_are_told_again_after_a_while(watch, told, seconds, told_at):
    watch("bbbb", seconds=seconds, min_frames=1)

    assert told() == told_at


def test_a_later_attempt_replaces_what_could_not_be_judged(watch, recorder, results):
    watch("bub")
    assert results.get(upload_of(2).inspection_id).outcome == "PENDING"

    upload = upload_of(1, attempt=2)
    recorder.record(state_of(upload, "b"), NOW)

    assert results.get(upload.inspection_id).outcome == "ALERT"


def test_an_earlier_attempt_does_not_undo_a_later_one(frames):
    frame = Frame.of("dock 1", upload_of(1).uploaded_at, "dock-1/1.jpg", "id")
    after = Frame.of("dock 1", upload_of(2).uploaded_at, "dock-1/2.jpg", "id2")
    frames.settle(frame, ["hard hats"], attempt=2, now=NOW)
    frames.settle(frame, None, attempt=1, now=NOW)
    frames.settle(after, ["hard hats"], attempt=1, now=NOW)

    assert frames.count_run(after, "hard hats", enough=2, within=timedelta(hours=1)) == 2


def test_cameras_do_not_count_for_each_other(frames):
    for camera in ("dock 1", "dock 2"):
        frames.settle(Frame.of(camera, upload_of(1).uploaded_at, "1.jpg", camera), ["r"], attempt=1, now=NOW)
    frame = Frame.of("dock 1", upload_of(2).uploaded_at, "2.jpg", "b")
    frames.settle(frame, ["r"], attempt=1, now=NOW)

    assert frames.count_run(frame, "r", enough=5, within=timedelta(hours=1)) == 2


def test_a_long_run_is_read_page_by_page(frames):
    for second in range(40):
        frames.settle(
            Frame.of("dock 1", upload_of(second).uploaded_at, f"{second:05}.jpg", str(second)),
            ["r"] if second % 2 else None,
            attempt=1,
            now=NOW,
        )
    frame = Frame.of("dock 1", upload_of(39).uploaded_at, "00039.jpg", "39")

    assert frames.count_run(frame, "r", enough=20, within=timedelta(hours=1)) == 20
    assert frames.count_run(frame, "r", enough=21, within=timedelta(hours=1)) == 20


def test_images_of_the_same_moment_are_in_the_order_of_their_names(frames):
    moment = upload_of(1).uploaded_at
    uploads = [Frame.of("dock 1", moment, f"dock-1/{name}.jpg", name) for name in ("3", "1", "2")]
    frames.settle(uploads[0], ["r"], attempt=1, now=NOW)
    frames.settle(uploads[1], ["r"], attempt=1, now=NOW)
    frames.settle(uploads[2], [], attempt=1, now=NOW)

    assert frames.count_run(uploads[0], "r", enough=3, within=timedelta(hours=1)) == 1


def test_an_upload_is_registered_with_its_camera_before_its_check_starts(
    frames, file, rules, dynamodb_client, monkeypatch, context
):
    stepfunctions = FakeStepFunctions()
    monkeypatch.setattr(module, "machine", lambda: StateMachine("arn:machine", stepfunctions))
    monkeypatch.setattr(module, "registrar", lambda: FrameRegistrar(frames, file))
    uploads = [upload_of(1), upload_of(1), upload_of(2, camera="dock-9")]
    messages = [
        {"messageId": str(number), "body": json.dumps({"upload": upload.model_dump()})}
        for number, upload in enumerate(uploads)
    ]

    answer = module.handler({"Records": [*messages, {"messageId": "poison", "body": "?"}]}, context)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "poison"}]}
    assert len(stepfunctions.started) == 2
    # That of no camera has no place among others.
    [item] = dynamodb_client.scan(TableName="frames")["Items"]
    assert (item["camera"]["S"], "state" in item) == ("dock 1", False)
