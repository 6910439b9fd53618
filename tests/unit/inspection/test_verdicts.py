"""Verdicts: where they turn, what a reply may hold, and its pictures on the wire."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from pydantic import ValidationError

from defectory.errors import InputError
from defectory.inspection.verdicts import DefectArea, Inspection, InspectionReply, Thresholds, decode_grey, parse_reply

AREA = {"name": "scratch", "area": 0.5, "regions": 1, "color": "#0a0B9f"}
REPLY = {
    "verdict": "FAIL",
    "score": 2.0,
    "confidence": 0.9,
    "review_threshold": 1.0,
    "fail_threshold": 2.0,
    "model_version": "v",
    "width": 4,
    "height": 2,
}


def inspection(verdict: str = "FAIL") -> Inspection:
    return Inspection(
        verdict=verdict,
        score=2.0,
        confidence=0.9,
        thresholds=Thresholds(1.0, 2.0),
        model_version="v",
        heatmap=np.array([[0.0, 0.5], [1.0, 0.25]], np.float32),
        mask=np.array([[0, 0], [255, 0]], np.uint8),
        classes=np.zeros((2, 2), np.uint8),
        defects=(DefectArea(**AREA),),
        width=4,
        height=2,
    )


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.0, "PASS"), (0.999, "PASS"), (1.0, "REVIEW"), (1.999, "REVIEW"), (2.0, "FAIL"), (9.0, "FAIL")],
)
def test_each_threshold_belongs_to_the_verdict_that_it_starts(score, verdict):
    assert Thresholds(review=1.0, fail=2.0).verdict(score) == verdict


def test_where_both_thresholds_coincide_nothing_is_for_review():
    thresholds = Thresholds(1.0, 1.0)

    assert [thresholds.verdict(score) for score in (0.999, 1.0)] == ["PASS", "FAIL"]


@pytest.mark.parametrize(("verdict", "anomalous"), [("PASS", False), ("REVIEW", False), ("FAIL", True)])
def test_only_what_fails_is_predicted_anomalous(verdict, anomalous):
    assert inspection(verdict).is_anomalous is anomalous


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [
        ("name", ["a", "a" * 255], ["", "a" * 256]),
        ("area", [0, 1], [-0.01, 1.01]),
        ("regions", [0], [-1]),
    ],
)
def test_an_area_is_a_share_of_the_image(field, allowed, refused):
    for value in allowed:
        assert getattr(DefectArea(**{**AREA, field: value}), field) == value
    for value in refused:
        with pytest.raises(ValidationError, match=field):
            DefectArea(**{**AREA, field: value})


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [("score", 0, -0.01), ("confidence", 0.5, 0.49), ("confidence", 1, 1.01), ("width", 1, 0), ("height", 1, 0)],
)
def test_a_reply_holds_what_a_model_can_say(field, allowed, refused):
    assert getattr(InspectionReply(**{**REPLY, field: allowed}), field) == allowed
    with pytest.raises(ValidationError, match=field):
        InspectionReply(**{**REPLY, field: refused})


def test_pictures_travel_as_8_bit_grey():
    reply = InspectionReply.of(inspection())

    # 0.5 * 255 = 127.5 and 0.25 * 255 = 63.75, to the nearest level
    assert decode_grey(reply.heatmap).tolist() == [[0, 128], [255, 64]]
    assert decode_grey(reply.mask).tolist() == [[0, 0], [255, 0]]
    assert (reply.review_threshold, reply.fail_threshold) == (1.0, 2.0)


def test_pictures_stay_out_where_nobody_asks_for_them():
    reply = InspectionReply.of(inspection(), images=False)

    assert (reply.heatmap, reply.mask) == ("", "")


@pytest.mark.parametrize(
    ("content", "named"),
    [("no JSON", "answer, answer"), ('{"verdict": "MAYBE", "score": -1}', "answer, verdict")],
)
def test_an_answer_that_is_no_inspection_is_refused_by_its_first_fault(content, named):
    with pytest.raises(InputError, match=named):
        parse_reply(content)


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputError, match="a grey PNG"):
        decode_grey("bm8gcGljdHVyZQ==")


def test_a_picture_that_unpacks_to_too_much_is_refused():
    # Given a PNG of a few bytes that says it has 200 million pixels
    header = struct.pack(">4s2I5B", b"IHDR", 20_000, 10_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    content += b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))

    with pytest.raises(InputError, match="a grey PNG in base64"):
        decode_grey(base64.b64encode(content).decode())
