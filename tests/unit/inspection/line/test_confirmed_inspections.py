"""Confirmed inspections: from the table and the bucket to a feedback file with its images."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from defectory.aws.clients import aws_client
from defectory.errors import InputError, ServiceError
from defectory.inspection.feedback import read_feedback
from defectory.inspection.line.confirmed_inspections import fetch_confirmed
from defectory.inspection.line.records import InspectionRecord
from defectory.inspection.line.results_table import INDEXES, ResultsTable

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def line(aws):
    """A results table and a versioned bucket; uploads an image and records its inspection."""
    dynamodb, s3 = aws_client("dynamodb"), aws_client("s3")
    names = {"inspection_id", *(name for keys in INDEXES.values() for name in keys)}
    dynamodb.create_table(
        TableName="results",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in sorted(names)],
        KeySchema=[{"AttributeName": "inspection_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=True)
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, keys in INDEXES.items()
        ],
    )
    s3.create_bucket(Bucket="uploads")
    s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    table = ResultsTable("results")

    def inspect(number: int, key: str, content: bytes, **more) -> InspectionRecord:
        version = s3.put_object(Bucket="uploads", Key=key, Body=content)["VersionId"]
        record = InspectionRecord(
            inspection_id=f"{number:032x}",
            bucket="uploads",
            key=key,
            version_id=version,
            size=len(content),
            uploaded_at="2026-11-21T11:00:00.000Z",
            inspected_at="2026-11-21T11:00:01.000Z",
            expires_at=int(NOW.timestamp()) + 999,
            **{"status": "INSPECTED", "verdict": "PASS", **more},
        )
        table.put(record, NOW)
        return record

    return table, inspect


def confirm(table: ResultsTable, record: InspectionRecord, label="anomaly", classes=("scratch",), now=NOW) -> None:
    table.confirm(record.inspection_id, label=label, classes=classes, by="ann", note="seen", now=now)


def test_confirmed_inspections_come_with_the_very_image_that_was_inspected(line, tmp_path):
    # Given an image inspected and confirmed, and another uploaded later under its name
    table, inspect = line
    confirm(table, inspect(1, "../line 1/teil +%.PNG", b"first"))
    inspect(2, "../line 1/teil +%.PNG", b"second")
    # When the feedback is fetched
    fetched = fetch_confirmed(table, tmp_path / "out")
    # Then there is one word, on the first
    (word,) = read_feedback(fetched.file)
    assert Path(word.image).read_bytes() == b"first"
    assert Path(word.image).parent == tmp_path / "out/images"
    assert (word.verdict, word.confirmed, word.classes, word.who) == ("PASS", "anomaly", ("scratch",), "ann")
    assert word.source_ref == "s3://uploads/../line 1/teil +%.PNG"
    assert word.when == NOW
    assert word.corrects


def test_an_upload_that_is_gone_is_named_and_the_others_are_there(line, tmp_path):
    table, inspect = line
    gone, kept = inspect(1, "gone.png", b"1"), inspect(2, "kept.png", b"2")
    confirm(table, gone)
    confirm(table, kept, "normal", ())
    aws_client("s3").delete_object(Bucket="uploads", Key="gone.png", VersionId=gone.version_id)
    fetched = fetch_confirmed(table, tmp_path / "out")
    assert fetched.gone == ("s3://uploads/gone.png",)
    assert [word.source_ref for word in fetched.feedback] == ["s3://uploads/kept.png"]


def test_only_what_was_confirmed_since_then_is_fetched(line, tmp_path):
    table, inspect = line
    confirm(table, inspect(1, "old.png", b"1"), now=NOW - timedelta(days=3))
    confirm(table, inspect(2, "new.png", b"2"))
    fetched = fetch_confirmed(table, tmp_path / "out", since="2026-11-20")
    assert [word.source_ref for word in fetched.feedback] == ["s3://uploads/new.png"]


def test_an_image_the_model_could_not_judge_may_be_confirmed(line, tmp_path):
    table, inspect = line
    confirm(table, inspect(1, "a.png", b"1", status="ERROR", verdict=None))
    assert fetch_confirmed(table, tmp_path / "out").feedback[0].verdict is None


def test_bad_arguments_are_refused_before_anything_is_fetched(line, tmp_path):
    table, _ = line
    with pytest.raises(InputError, match="since"):
        fetch_confirmed(table, tmp_path / "out", since="yesterday")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="new or empty"):
        fetch_confirmed(table, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_missing_table_is_said(aws, tmp_path):
    with pytest.raises(ServiceError, match="none"):
        fetch_confirmed(ResultsTable("none"), tmp_path / "out")
