"""Many images in one request, as transform jobs send them."""

from __future__ import annotations

import base64
import json

import pytest

from defectory.door.lines import answer_lines
from defectory.errors import ImageError


def line(image_id: str, content: bytes) -> str:
    return json.dumps({"image_id": image_id, "image": base64.b64encode(content).decode()})


def answer(content: bytes) -> bytes:
    if content == b"none":
        raise ImageError("request body", "an image")
    if content == b"bug":
        raise ZeroDivisionError("secret")
    return json.dumps({"width": len(content)}).encode()


def answers(*lines: str) -> list[dict]:
    return [json.loads(text) for text in answer_lines("\n".join(lines).encode(), answer).split(b"\n")]


def test_each_line_is_answered_in_its_place_with_its_id():
    assert answers(line("a", b"123"), "", line("é/2", b"12345"), "  ") == [
        {"image_id": "a", "width": 3},
        {"image_id": "é/2", "width": 5},
    ]


def test_nothing_is_answered_to_nothing():
    assert answer_lines(b"\n \n", answer) == b""


@pytest.mark.parametrize(
    ("bad", "image_id", "code"),
    [
        (line("b", b"none"), "b", "BadImage"),
        (line("b", b"bug"), "b", "ModelFailed"),
        ('{"image_id": "b", "image": "!!"}', "b", "BadImage"),
        ('{"image_id": "b"}', None, "InvalidInput"),
        ('{"image_id": "", "image": ""}', None, "InvalidInput"),
        ('{"image_id": "b", "image": "", "url": "x"}', None, "InvalidInput"),
        ("[1, 2", None, "InvalidInput"),
    ],
)
def test_a_line_that_is_none_says_so_and_leaves_the_others_alone(bad, image_id, code):
    first, second, third = answers(line("a", b"1"), bad, line("c", b"12"))
    assert (first["width"], third["width"]) == (1, 2)
    assert (second["image_id"], second["error"]["code"]) == (image_id, code)
    assert second["error"]["message"]
    assert "secret" not in second["error"]["message"]
