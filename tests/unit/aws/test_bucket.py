"""A bucket, with S3 as moto plays it."""

from __future__ import annotations

import boto3
import pytest

from defectory.aws.bucket import Bucket
from defectory.errors import ImageError, InputError, ServiceError


@pytest.fixture
def bucket(aws) -> Bucket:
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="images")
    return Bucket("images", client)


def test_keys_are_those_of_files(bucket):
    bucket.write_all([*((f"a/{number}.png", b"x") for number in range(3)), ("a/folder/", b""), ("b.png", b"x")])

    assert bucket.keys("a/") == ["a/0.png", "a/1.png", "a/2.png"]


def test_what_is_not_there_is_none_to_look_for_and_an_error_to_read(bucket):
    assert bucket.find("a/gone.png") is None
    with pytest.raises(InputError, match=r"a/gone\.png"):
        bucket.read("a/gone.png")


def test_a_file_too_large_is_refused_unread(bucket):
    bucket.write({"a.png": b"x" * 11})

    with pytest.raises(ImageError, match="10 bytes"):
        bucket.read("a.png", most=10)


@pytest.mark.parametrize("content", [b"", b"one", b"one\n", b"one\r\n\ntwo", b"\n" * 3, b"x" * 200_000 + b"\nend\n"])
def test_lines_are_those_of_the_content_however_it_comes(bucket, content):
    bucket.write({"lines": content})

    expected = content.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n") if content else []
    assert list(bucket.lines("lines")) == expected
    assert list(bucket.lines("none")) == []


def test_a_line_without_an_end_is_not_held(bucket, monkeypatch):
    monkeypatch.setattr("defectory.aws.bucket.MAX_BYTES", 100_000)
    bucket.write({"lines": b"x" * 70_000 + b"\n" + b"y" * 200_000})

    lines = bucket.lines("lines")
    assert next(lines) == b"x" * 70_000
    with pytest.raises(InputError, match="100,000 bytes"):
        next(lines)


def test_many_files_come_in_the_order_that_they_were_asked_for(bucket):
    bucket.write_all((f"{number}", str(number).encode()) for number in range(30))
    keys = [str(number) for number in (7, 3, 29, 0)]

    assert list(bucket.read_all(keys)) == [(key, key.encode()) for key in keys]


def test_what_is_there_is_not_written_over_where_that_is_asked(bucket):
    assert bucket.write_new("a.json", b"first")
    assert not bucket.write_new("a.json", b"second")
    assert bucket.read("a.json") == b"first"


def test_removing_twice_is_no_error(bucket):
    bucket.write({"a": b"x"})
    bucket.remove(["a", "a", "never"])

    assert bucket.find("a") is None


def test_what_s3_refuses_is_told_with_the_place(aws):
    nowhere = Bucket("elsewhere", boto3.client("s3", region_name="us-east-1"))

    for work in (
        lambda: nowhere.keys("a/"),
        lambda: nowhere.read("a"),
        lambda: nowhere.write({"a": b""}),
        lambda: nowhere.write_new("a", b""),
        lambda: nowhere.remove(["a"]),
    ):
        with pytest.raises(ServiceError, match="s3://elsewhere/a"):
            work()
