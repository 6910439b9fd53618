"""The safety line in the local cloud, as a camera and a safety engineer meet it: through boto3 and mail alone."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from defectory.inspection.approved_models import CURRENT
from tests.local_cloud.line import Line
from tests.support.hat_detector import BODY, SIDE, compose, hat_detector

pytestmark = pytest.mark.xdist_group("application")

RULES = {
    "cameras": [
        {
            "camera": camera,
            "prefix": f"{camera}/",
            "zones": {"A": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]},
            "rules": [{"name": "hats", "label": "person", "required": ["hard_hat"], "zone": "A", "min_frames": 3}],
        }
        for camera in ("dock-1", "dock-2")
    ]
}


def line_of(app) -> Line:
    """The client side of the application's safety line."""
    names = ("UploadBucketName", "ResultsBucketName", "ResultsTableName")
    ours = ("SafetyUploadBucketName", "SafetyResultsBucketName", "SafetyTableName")
    return Line(app.cloud, {**app.outputs, **{name: app.outputs[mine] for name, mine in zip(names, ours, strict=True)}})


@pytest.fixture(scope="module")
def line(applications):
    """The line with rules in force and a detector in service."""
    line = line_of(applications["bedrock"])
    answer = line.call(line.outputs["SafetyRulesFunctionName"], RULES)
    assert answer["cameras"] == ["dock-1", "dock-2"]
    s3, bucket = line.cloud.client("s3"), line.outputs["DetectorBucketName"]
    detector = hat_detector()
    s3.put_object(Bucket=bucket, Key="models/by-hand/detector.tar.gz", Body=detector.to_bytes())
    approved = {
        "run": "by-hand",
        "archive": f"s3://{bucket}/models/by-hand/detector.tar.gz",
        "model_version": detector.card.version,
        "approved_at": "2026-11-28T15:04:05Z",
    }
    s3.put_object(Bucket=bucket, Key=CURRENT, Body=json.dumps(approved))
    return line


def test_a_bare_head_on_three_images_in_a_row_is_told_once_with_the_blurred_picture(line):
    # Uploaded one after the other, worked on at the same time.
    scenes = [compose(), compose(), compose(), compose(hat=True), compose(person=False)]
    for number, scene in enumerate(scenes):
        line.upload(f"dock-1/{number}.jpg", scene)
    line.upload("dock-2/0.jpg", compose())
    rows = [line.row(f"dock-1/{number}.jpg") for number in range(5)]
    other = line.row("dock-2/0.jpg")

    assert [row["outcome"] for row in rows[3:]] == ["OK", "OK"]
    # Whichever of them complete the row: two that are judged at the same moment both see all three.
    assert {row["outcome"] for row in rows[:3]} in ({"ALERT"}, {"ALERT", "PENDING"})
    assert other["outcome"] == "PENDING", "another camera's images are no part of the row"
    assert [item["label"] for item in rows[3]["detections"]] == ["person", "hard_hat"]
    assert "detections" in rows[4]
    assert rows[4]["object_count"] == 0
    [mail] = [mail for mail in line.cloud.mails() if mail.subject.endswith("zone A, dock-1")]
    [told] = [row for row in rows[:3] if row["boxed_key"].replace("/", "%2F") in mail.body]
    assert told["outcome"] == "ALERT"
    assert (told["camera"], told["model_version"]) == ("dock-1", hat_detector().card.version)
    assert told["broken_rules"][0]["message"] == "hats: person without hard_hat in zone A"

    assert mail.subject == "ALERT: hats: person without hard_hat in zone A, dock-1"
    assert mail.to == "safety@example.com"
    for words in ("3 images in a row", told["uploaded_at"]):
        assert words in mail.body
    assert line.outputs["UploadBucketName"] not in mail.body, "nobody blurred the upload"

    before, after = (
        np.asarray(Image.open(io.BytesIO(content)).convert("L"), float)
        for content in (compose(), line.result(told["boxed_key"]))
    )
    body = np.s_[round(BODY[1] * SIDE) : round(BODY[3] * SIDE), round(BODY[0] * SIDE) : round(BODY[2] * SIDE)]
    edges = [np.abs(np.diff(image[body], axis=0)).max() for image in (before, after)]
    assert edges[1] < edges[0] / 2, "the person is blurred"


def test_what_cannot_be_judged_is_a_row_and_a_mail(line):
    line.upload("dock-2/broken.jpg", compose()[:300])
    line.upload("yard/0.jpg", compose())
    broken, unwatched = line.row("dock-2/broken.jpg"), line.row("yard/0.jpg")

    assert (broken["outcome"], broken["camera"]) == ("UNREADABLE", "dock-2")
    assert unwatched["outcome"] == "REVIEW"
    assert "no camera with a prefix" in unwatched["reason"]
    assert len(line.mails("dock-2/broken.jpg")) == len(line.mails("yard/0.jpg")) == 1


def test_wrong_rules_are_refused_and_those_in_force_stay(line):
    wrong = {"cameras": [{**RULES["cameras"][0], "zones": {}}]}

    answer = line.call(line.outputs["SafetyRulesFunctionName"], wrong)

    assert (answer["status"], answer["error"]["field"]) == ("REJECTED", "cameras.0")
    line.upload("dock-2/after.jpg", compose(hat=True))
    assert line.row("dock-2/after.jpg")["camera"] == "dock-2"


def test_an_upload_that_was_deleted_is_unreadable(line):
    s3, bucket = line.cloud.client("s3"), line.outputs["UploadBucketName"]
    version = s3.put_object(Bucket=bucket, Key="dock-2/gone.jpg", Body=b"?")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="dock-2/gone.jpg", VersionId=version)
    upload = {"bucket": bucket, "key": "dock-2/gone.jpg", "version_id": version, "size": 1}

    record = line.call("with-model-check-safety", {**upload, "uploaded_at": "2026-11-21T11:59:00.000Z"})

    assert (record["status"], "deleted" in record["reason"]) == ("UNREADABLE", True)


def test_before_there_are_rules_or_an_endpoint_images_are_rows_and_mails(applications):
    line = line_of(applications["catalogue"])
    line.upload("dock-1/earliest.jpg", compose())
    earliest = line.row("dock-1/earliest.jpg")
    assert line.call(line.outputs["SafetyRulesFunctionName"], RULES)["status"] == "SET"

    line.upload("dock-1/early.jpg", compose())

    row = line.row("dock-1/early.jpg")
    assert (earliest["outcome"], earliest.get("camera")) == ("ERROR", None)
    assert (row["outcome"], row["camera"]) == ("ERROR", "dock-1")
    assert "does not exist" in row["reason"]
    [mail] = line.mails("dock-1/early.jpg")
    assert mail.subject == "ERROR: dock-1"
