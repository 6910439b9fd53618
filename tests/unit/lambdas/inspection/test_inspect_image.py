"""Inspecting one upload: a record for every file, an error the machine can act on for every failing service."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from PIL import Image

from defectory.errors import ServiceError
from defectory.inspection.verdicts import WORDS_LIMIT, parse_reply
from defectory.line import buckets as line_buckets
from defectory.line.endpoint import (
    PAYLOAD_LIMIT,
    EndpointAnswerError,
    EndpointBusyError,
    EndpointFailedError,
    EndpointMissingError,
)
from lambdas.inspect_image import handler as module
from tests.unit.lambdas.inspection.conftest import NOW, refusal, reply


@pytest.fixture
def inspect(calling, inspector):
    return lambda upload: calling(module, "inspector", inspector, upload.model_dump())


def stored(s3, key: str) -> bytes:
    return s3.get_object(Bucket="results", Key=key)["Body"].read()


def test_an_image_becomes_a_record_with_a_heatmap_and_an_overlay_beside_the_result(inspect, upload, photo, s3):
    part = upload(photo())

    record = inspect(part)

    assert (record["status"], record["verdict"], record["score"], record["confidence"]) == (
        *("INSPECTED", "FAIL", 0.8, 0.93),
    )
    assert (record["review_threshold"], record["fail_threshold"], record["model_version"]) == (0.5, 0.6, "3f9a1c2b")
    assert (record["width"], record["height"], record["shrunk"]) == (96, 64, False)
    folders = {record[key].rpartition("/")[0] for key in ("result_key", "heatmap_key", "overlay_key")}
    assert folders == {f"2026-11-21/{part.inspection_id}"}
    assert parse_reply(stored(s3, record["result_key"])) == reply()
    assert Image.open(io.BytesIO(stored(s3, record["heatmap_key"]))).size == (48, 32)
    overlay = Image.open(io.BytesIO(stored(s3, record["overlay_key"])))
    assert (overlay.format, overlay.size) == ("JPEG", (96, 64))
    json.dumps(record)


def test_an_image_reaches_the_model_as_it_was_uploaded(inspect, upload, photo, sagemaker):
    for content, kind in ((photo(), "image/png"), (photo(format="JPEG"), "image/jpeg"), (photo(mode="P"), "image/png")):
        inspect(upload(content))

        assert sagemaker.asked[-1]["Body"] == content
        assert sagemaker.asked[-1]["ContentType"] == kind


@pytest.mark.parametrize("key", ["a.png", "a.PNG", "b/c.Jpg", "d.JPEG", "e.f.jpeg", "п.JpEg", "n" * 1000 + ".png"])
def test_images_in_any_letter_case_are_inspected(inspect, upload, photo, key):
    assert inspect(upload(photo(), key))["status"] == "INSPECTED"


@pytest.mark.parametrize("key", ["a.txt", "a.tiff", "a.svg", "a.gif", "png", ".png", "a.png.bak", "Thumbs.db", "a."])
def test_other_files_have_a_record_that_says_so_and_are_not_asked_of_the_model(inspect, upload, sagemaker, key):
    record = inspect(upload(b"whatever", key))

    assert record["status"] == "UNSUPPORTED"
    assert ".jpeg, .jpg, .png" in record["reason"]
    assert not sagemaker.asked


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"hello", "image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ""),
    ],
)
def test_what_is_no_image_has_a_record_that_says_why(inspect, upload, sagemaker, content, why):
    record = inspect(upload(content, "lot/part.png"))

    assert record["status"] == "UNREADABLE"
    assert "part.png" in record["reason"]
    assert why in record["reason"]
    assert not sagemaker.asked


def test_truncated_and_tiny_images_have_a_record_that_says_why(inspect, upload, photo):
    assert inspect(upload(photo()[:-200]))["status"] == "UNREADABLE"
    assert "8 pixels" in inspect(upload(photo(size=(1, 1))))["reason"]


def test_a_file_too_large_is_not_read(inspect, upload, photo, monkeypatch):
    monkeypatch.setattr(line_buckets, "MAX_BYTES", 100)

    record = inspect(upload(photo()))

    assert record["status"] == "UNREADABLE"
    assert "100 bytes" in record["reason"]


def test_an_image_in_another_format_under_a_known_name_is_converted(inspect, upload, photo, sagemaker):
    content = photo(format="BMP")

    assert inspect(upload(content))["status"] == "INSPECTED"

    sent = sagemaker.asked[-1]
    assert sent["ContentType"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent["Body"]))), np.asarray(Image.open(io.BytesIO(content))))


def test_an_image_too_large_for_the_endpoint_is_shrunk_and_the_record_says_so(inspect, upload, photo, sagemaker):
    content = photo(size=(2000, 1500))
    assert len(content) > PAYLOAD_LIMIT

    record = inspect(upload(content))

    sent = sagemaker.asked[-1]
    assert len(sent["Body"]) <= PAYLOAD_LIMIT
    assert (record["width"], record["height"]) == (2000, 1500)
    assert record["shrunk"] is (Image.open(io.BytesIO(sent["Body"])).size != (2000, 1500))


def test_the_version_that_was_told_of_is_inspected_not_the_latest(inspect, upload, photo, sagemaker):
    first, second = photo(seed=1), photo(seed=2)
    part = upload(first)
    upload(second)

    inspect(part)

    assert sagemaker.asked[-1]["Body"] == first


def test_inspecting_again_writes_the_same(inspect, upload, photo, s3):
    part = upload(photo())
    first, second = inspect(part), inspect(part)

    assert {**first, "inspected_at": 0, "expires_at": 0} == {**second, "inspected_at": 0, "expires_at": 0}
    assert s3.list_objects_v2(Bucket="results")["KeyCount"] == 3


def model_error(status: int, said: str = "it said") -> Exception:
    return refusal("ModelError", OriginalStatusCode=status, OriginalMessage=said)


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (refusal("ValidationError", "Endpoint line of account 1 not found."), EndpointMissingError, "deploy"),
        (refusal("ThrottlingException"), EndpointBusyError, ""),
        (refusal("ModelNotReadyException"), EndpointBusyError, ""),
        (refusal("ServiceUnavailable"), EndpointBusyError, ""),
        (refusal("InternalFailure"), EndpointBusyError, ""),
        (ReadTimeoutError(endpoint_url="https://x"), EndpointBusyError, "timeout"),
        (EndpointConnectionError(endpoint_url="https://x"), EndpointBusyError, ""),
        (model_error(503), EndpointBusyError, "503"),
        # A container that dies while it is asked is started anew.
        (model_error(500), EndpointFailedError, "it said"),
        (model_error(502), EndpointFailedError, "502"),
        (model_error(0), EndpointFailedError, "it said"),
        (model_error(400, '{"error": {"code": "BadImage"}}'), EndpointAnswerError, "BadImage"),
        (b"", EndpointAnswerError, "nonsense"),
        (b"<html>", EndpointAnswerError, "nonsense"),
        (b'{"verdict": "MAYBE"}', EndpointAnswerError, "verdict"),
        (reply().model_copy(update={"heatmap": "no picture"}), EndpointAnswerError, "heatmap"),
        (refusal("AccessDeniedException"), ServiceError, "AccessDenied"),
    ],
)
def test_an_endpoint_that_fails_is_told_by_kind(inspect, upload, photo, sagemaker, failure, error, words):
    sagemaker.answers = [failure]

    with pytest.raises(ServiceError) as caught:
        inspect(upload(photo()))

    assert type(caught.value) is error
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        ("Creating", EndpointBusyError, "still being made"),
        # Made between the two questions.
        ("InService", EndpointBusyError, "still being made"),
        ("Failed", EndpointMissingError, "deploy"),
        ("Deleting", EndpointMissingError, "deploy"),
        (refusal("ThrottlingException"), EndpointBusyError, "look at"),
        (refusal("AccessDeniedException"), ServiceError, "look at"),
    ],
)
def test_an_endpoint_that_is_being_made_is_waited_for(inspect, upload, photo, sagemaker, status, error, words):
    sagemaker.answers = [refusal("ValidationError", "Endpoint line of account 1 not found.")]
    sagemaker.status = status

    with pytest.raises(ServiceError, match=words) as caught:
        inspect(upload(photo()))

    assert type(caught.value) is error


@pytest.mark.parametrize("field", ["score", "review_threshold", "fail_threshold"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1e200"])
def test_a_score_that_no_table_takes_is_nonsense(inspect, upload, photo, sagemaker, field, number):
    answer = json.loads(reply().model_dump_json())
    sagemaker.answers = [json.dumps({**answer, field: "@"}).replace('"@"', number).encode()]

    with pytest.raises(EndpointAnswerError, match="nonsense"):
        inspect(upload(photo()))


@pytest.mark.parametrize(
    "unbounded",
    [
        {"reasons": ["r" * 300_000] * 2},
        {"reasons": ["r"] * 100_000},
        {"reasons": ["\x01" * 20_000]},
        {"model_version": "v" * 500_000},
        {"defects": [{"name": f"scratch {n}", "area": 0, "regions": 0, "color": "#000000"} for n in range(5000)]},
        {"width": 10**30},
        {"n" * 500_000: 1},
    ],
    ids=lambda fields: next(iter(fields))[:20],
)
def test_an_answer_too_long_for_a_row_is_nonsense_and_the_error_short(inspect, upload, photo, sagemaker, unbounded):
    sagemaker.answers = [json.dumps({**json.loads(reply().model_dump_json()), **unbounded}).encode()]

    with pytest.raises(EndpointAnswerError, match="nonsense") as caught:
        inspect(upload(photo()))

    assert len(str(caught.value)) < 1000


def test_the_longest_answer_passes_the_state_machine_and_fits_the_table(inspect, upload, photo, sagemaker, recorder):
    fields = json.loads(reply().model_dump_json()) | {"score": 5e-324}
    fields["reasons"] = ["\x01" * ((WORDS_LIMIT - 1000) // 6)]
    sagemaker.answers = [json.dumps(fields).encode()]

    record = inspect(upload(photo(), "k" * 1020 + ".png"))

    # Step Functions: 256 KiB for what a state gives on; the record comes with the upload.
    assert len(json.dumps({"record": record, "upload": upload(photo()).model_dump()})) < 256 * 1024 - 20_000
    assert recorder.record({"record": record}, NOW)["outcome"] == "FAIL"


def test_an_upload_that_is_gone_is_unreadable_and_its_row_says_why(inspect, upload, photo, s3):
    part = upload(photo(), "lot 7/part.png")
    s3.delete_object(Bucket="uploads", Key=part.key, VersionId=part.version_id)

    record = inspect(part)

    assert record["status"] == "UNREADABLE"
    assert "lot 7/part.png" in record["reason"]
    assert "It was deleted" in record["reason"]


def test_results_that_cannot_be_written_are_an_error(inspect, upload, photo, s3):
    part = upload(photo())
    s3.delete_bucket(Bucket="results")

    with pytest.raises(ServiceError, match="results"):
        inspect(part)
