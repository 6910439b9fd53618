"""One image of a camera: its row, its picture, who is told, and the rules that it is held against."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from defectory.detection.safety.camera_rules import MOST_FRAMES, parse_cameras
from defectory.detection.safety.records import MOST_LISTED
from defectory.detection.safety.rules_file import KEY
from defectory.errors import InputError
from defectory.line.alerts import GRACE
from defectory.line.endpoint import EndpointBusyError
from lambdas.check_safety import handler as check_module
from lambdas.record_safety_check import handler as record_module
from lambdas.send_safety_alert import handler as alert_module
from lambdas.send_safety_digest import handler as digest_module
from lambdas.set_safety_rules import handler as rules_module
from tests.unit.lambdas.safety.conftest import HAT, PERSON, RULES, SPILL, upload_of


@pytest.fixture
def line(monkeypatch, context, inspector, recorder, notifier, results, s3):
    """Upload an image, and have it go through the functions as the state machine does; its row."""
    monkeypatch.setattr(check_module, "inspector", lambda: inspector)
    monkeypatch.setattr(record_module, "recorder", lambda: recorder)
    monkeypatch.setattr(alert_module, "notifier", lambda: notifier)

    def run(content: bytes, second: int = 1, key: str = ""):
        upload = upload_of(second, key)
        s3.put_object(Bucket="uploads", Key=upload.key, Body=content)
        state = {"upload": upload.model_dump()}
        recorded = record_module.handler({**state, "record": check_module.handler(state["upload"], context)}, context)
        if recorded["tell"]:
            alert_module.handler({"inspection_id": recorded["inspection_id"]}, context)
        return results.get(recorded["inspection_id"])

    return run


def stored(s3, key: str) -> bytes:
    return s3.get_object(Bucket="results", Key=key)["Body"].read()


def test_an_image_without_anything_wrong_is_a_row_with_its_objects_and_a_picture(
    line, detector, rules, topics, s3, photo
):
    detector.detections = (PERSON, HAT)

    row = line(photo)

    assert (row.outcome, row.camera, row.model_version) == ("OK", "dock 1", "3f9a1c2b")
    assert [(item.label, item.score, item.box) for item in row.detections] == [
        ("person", 0.9, (10, 10, 20, 50)),
        ("hard_hat", 0.8, (14, 8, 12, 10)),
    ]
    assert (row.object_count, row.broken_rules, row.pending_alert) == (2, (), None)
    result = json.loads(stored(s3, row.result_key))
    assert (result["camera"], len(result["reply"]["detections"]), result["alerts"]) == ("dock 1", 2, [])
    assert Image.open(io.BytesIO(stored(s3, row.boxed_key))).size == (96, 64)
    assert not topics["alert"].sent
    assert not topics["review"].sent


def test_people_are_told_what_where_when_with_a_link_to_the_picture_and_none_to_the_upload(
    line, detector, rules, topics, photo
):
    detector.detections = (PERSON, SPILL)

    # A spill at once, the bare head with the third image in a row.
    rows = [line(photo, second) for second in range(3)]

    assert [row.outcome for row in rows] == ["ALERT"] * 3
    assert [rule.frames for rule in rows[2].broken_rules] == [3, 1]
    assert [violation.missing for violation in rows[2].violations] == [("hard_hat",), ()]
    (first, _), (subject, text) = topics["alert"].sent
    assert first == "ALERT: dry floor: spill, dock 1"
    assert subject == "ALERT: hard hats: person without hard_hat in zone A, dock 1"
    for words in (
        "hard hats: person without hard_hat in zone A (one object, 3 images in a row)",
        "dock 1",
        "2026-11-21T11:00:02.000Z",
        f"/s3/object/results?region=us-east-1&prefix=2026-11-21%2F{rows[2].inspection_id}%2Fboxes.jpg",
        "3f9a1c2b",
    ):
        assert words in text
    assert "/s3/object/uploads" not in text
    assert not topics["review"].sent


def test_persons_are_blurred_and_what_breaks_a_rule_is_drawn_in_red(line, detector, rules, s3, photo):
    detector.detections = (PERSON,)
    picture = np.asarray(Image.open(io.BytesIO(stored(s3, line(photo).boxed_key)))).astype(int)

    # Below the label, and within the box.
    within, beside = (slice(38, 56), slice(14, 26)), (slice(38, 56), slice(60, 94))
    assert picture[within].std() < 20
    assert picture[beside].std() > 40
    red, green, blue = picture[45, 10]
    assert red > 150 > max(green, blue)


def test_without_privacy_the_picture_is_not_blurred(line, inspector, detector, rules, s3, photo, monkeypatch):
    monkeypatch.setattr(check_module, "inspector", lambda: replace(inspector, blurred=""))
    detector.detections = (PERSON,)

    row = line(photo)

    picture = np.asarray(Image.open(io.BytesIO(stored(s3, row.boxed_key)))).astype(int)
    assert not row.is_blurred
    assert picture[38:56, 14:26].std() > 40


def test_where_persons_cannot_be_told_no_picture_is_kept_and_a_person_has_to_look(
    line, detector, rules, topics, s3, photo
):
    detector.classes = ("spill",)

    row = line(photo)

    assert (row.outcome, row.boxed_key) == ("REVIEW", "")
    assert "does not know 'person'" in row.reason
    assert "'hard hats' cannot be judged" in row.reason
    assert [entry["Key"].rpartition("/")[2] for entry in s3.list_objects_v2(Bucket="results")["Contents"]] == [
        "result.json"
    ]
    assert len(topics["review"].sent) == 1


def test_a_rule_that_can_be_judged_is_beside_one_that_cannot(line, detector, rules, topics, photo):
    detector.classes, detector.detections = ("person", "spill"), (SPILL,)

    row = line(photo)

    assert (row.outcome, row.pending_alert) == ("ALERT", None)
    assert "not hard_hat" in row.reason
    assert len(topics["alert"].sent) == 1


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        ("dock-9/1.jpg", None, "no camera with a prefix"),
        ("dock-1/1.jpg", b"[]", "holds no rules"),
        ("dock-1/1.jpg", b'{"cameras": []}', "holds no rules"),
    ],
)
def test_an_image_that_no_rule_holds_for_is_a_row_that_a_person_sees(
    line, detector, rules, topics, s3, photo, key, content, reason
):
    if content is not None:
        s3.put_object(Bucket="models", Key=KEY, Body=content)

    row = line(photo, key=key)

    assert (row.outcome, row.camera) == ("REVIEW", "")
    assert reason in row.reason
    assert len(topics["review"].sent) == 1


def test_before_any_rules_are_set_images_say_so(line, photo, topics):
    assert "set_safety_rules" in line(photo).reason
    assert len(topics["review"].sent) == 1


@pytest.mark.parametrize(
    ("key", "content", "status", "mails"),
    [("dock-1/1.jpg", b"", "UNREADABLE", 1), ("dock-1/notes.txt", b"shift 2", "UNSUPPORTED", 0)],
)
def test_what_is_no_image_is_a_row_of_its_camera(line, rules, detector, topics, key, content, status, mails):
    row = line(content, key=key)

    assert (row.outcome, row.camera, detector.asked) == (status, "dock 1", [])
    assert len(topics["review"].sent) == mails


def test_a_detector_that_fails_is_an_error_for_the_machine_and_then_a_row_and_a_mail(
    line, detector, rules, recorder, results, notifier, topics, photo, context
):
    detector.error = EndpointBusyError("The endpoint is cold.")
    with pytest.raises(EndpointBusyError):
        line(photo)
    problem = {"error": "EndpointBusyError", "cause": '{"errorMessage": "The endpoint is cold."}'}

    recorded = record_module.handler({"upload": upload_of(1).model_dump(), "problem": problem}, context)
    alert_module.handler({"inspection_id": recorded["inspection_id"]}, context)

    row = results.get(recorded["inspection_id"])
    assert (row.outcome, row.camera, row.reason) == ("ERROR", "dock 1", "EndpointBusyError: The endpoint is cold.")
    assert topics["review"].sent[0][0] == "ERROR: dock 1"


def test_a_crowd_is_listed_in_part_and_counted_in_full(inspector, detector, rules, s3, photo):
    boxes = [(number, 50, 9, 8) for number in range(MOST_LISTED + 1)]
    detector.detections = tuple(SPILL.model_copy(update={"box": box}) for box in boxes)
    s3.put_object(Bucket="uploads", Key=upload_of(1).key, Body=photo)

    record = inspector.inspect(upload_of(1))

    assert (len(record.detections), record.object_count) == (100, 101)
    assert (len(record.violations), record.violation_count, record.broken_rules[0].objects) == (100, 101, 101)
    assert len(json.loads(stored(s3, record.result_key))["alerts"]) == 101
    # What a state machine hands on, and a row holds, https://docs.aws.amazon.com/step-functions/latest/dg/limits.html
    assert len(record.model_dump_json()) < 100_000


def test_rows_are_found_by_camera(line, detector, rules, results, photo):
    line(photo, 1)
    line(photo, 2)

    assert [row.key for row in results.of_camera("dock 1")] == ["dock-1/00001.jpg", "dock-1/00002.jpg"]
    assert [row.key for row in results.of_camera("dock 1", "2026-11-21T11:00:02")] == ["dock-1/00002.jpg"]
    assert not list(results.of_camera("dock 2"))


def test_images_over_the_limit_of_mails_are_in_the_digest_with_their_pictures(
    line, notifier, topics, monkeypatch, context, photo
):
    monkeypatch.setattr(digest_module, "notifier", lambda: notifier)
    rows = [line(photo, second, f"dock-9/{second}.jpg") for second in range(5)]
    assert len(topics["review"].sent) == 3

    assert digest_module.handler({}, context) == {"alert": 0, "review": 0}, "the line may still tell of them itself"

    assert notifier.send_digest(datetime.now(UTC) + GRACE) == {"alert": 0, "review": 2}
    subject, text = topics["review"].sent[-1]
    assert subject == "2 inspections: 2 REVIEW"
    assert sum(row.boxed_key.replace("/", "%2F") in text for row in rows) == 2


# ------------------------------------------------------------------ the rules


def changed(**camera) -> dict:
    """The rules with a camera that is changed."""
    document = copy.deepcopy(RULES)
    document["cameras"][0].update(camera)
    return document


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ([], "MonitoredCameras", "dictionary"),
        ({"cameras": []}, "cameras", "at least 1"),
        ({"cameras": [*RULES["cameras"], *RULES["cameras"]]}, "MonitoredCameras", "differ in camera"),
        (
            {"cameras": [*RULES["cameras"], {**RULES["cameras"][0], "camera": "dock 2"}]},
            "MonitoredCameras",
            "differ in prefix",
        ),
        (changed(zones={}), "cameras.0", "one of the zones"),
        (changed(zones={"A": [[0, 0], [1, 1], [2, 0]]}), "cameras.0.zones.A.2.0", "less than or equal to 1"),
        (changed(rules=[]), "cameras.0.rules", "at least 1"),
        (changed(within_minutes=0), "cameras.0.within_minutes", "greater than or equal to 1"),
        (changed(rules=[{"name": "r", "label": "x", "min_frames": MOST_FRAMES + 1}]), "cameras.0", "at most 1000"),
        (changed(colour="red"), "cameras.0.colour", "not permitted"),
    ],
)
def test_wrong_rules_are_refused_with_field_and_rule_and_change_nothing(
    monkeypatch, context, file, rules, document, field, words
):
    monkeypatch.setattr(rules_module, "file", lambda: file)
    before = file.read()

    answer = rules_module.handler(document, context)

    assert (answer["status"], answer["error"]["field"]) == ("REJECTED", field)
    assert words in json.dumps(answer)
    assert file.read() == before


def test_rules_that_are_set_hold_for_the_next_image(monkeypatch, context, file, line, detector, photo):
    monkeypatch.setattr(rules_module, "file", lambda: file)
    detector.detections = (SPILL,)
    assert line(photo, 1).outcome == "REVIEW"

    answer = rules_module.handler(json.loads(json.dumps(RULES)), context)

    assert answer == {"status": "SET", "file": f"s3://models/{KEY}", "cameras": ["dock 1"]}
    assert line(photo, 2).outcome == "ALERT"


def test_the_longest_prefix_says_which_camera_it_is():
    cameras = [{**RULES["cameras"][0], "camera": name, "prefix": name} for name in ("", "a", "a/b", "c")]
    cameras[0]["camera"] = "any"
    monitored = parse_cameras({"cameras": cameras})

    assert [monitored.of(key).camera for key in ("a/b/1.jpg", "a/c.jpg", "d.jpg")] == ["a/b", "a", "any"]
    with pytest.raises(InputError):
        parse_cameras({"cameras": [{**cameras[0], "camera": ""}]})
