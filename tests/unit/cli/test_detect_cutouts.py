"""``defectory detect cutouts``: what people and what machines read, and the exit codes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from defectory.cli import main


@pytest.fixture
def run(capsys):
    def run_(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["detect", "cutouts", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run_


@pytest.fixture
def photo(tmp_path):
    image = np.full((160, 140, 3), (40, 70, 160), np.uint8)
    cv2.ellipse(image, (70, 80), (30, 50), 0, 0, 360, (220, 90, 20), -1)
    Image.fromarray(image).save(tmp_path / "cone.png")
    return tmp_path / "cone.png"


def test_cut_outs_are_written_and_told_of(run, photo, tmp_path):
    code, out, _ = run(photo, "--label", "safety_cone", "--height", 0.75, "--split", "test", "--out", tmp_path / "set")

    assert code == 0
    assert "1 cut-out of safety_cone (own, test)" in out
    (line,) = (tmp_path / "set/cutouts.jsonl").read_text().splitlines()
    assert json.loads(line)["split"] == "test"


def test_a_photo_without_an_object_ends_with_1(run, photo, tmp_path):
    Image.fromarray(np.full((100, 100, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    arguments = "--label", "cone", "--height", 0.75, "--out", tmp_path / "set"

    code, out, _ = run(photo, tmp_path / "wall.png", *arguments, "--json")

    report = json.loads(out)
    assert code == 1
    assert len(report["cutouts"]) == 1
    assert list(report["failures"]) == [str(tmp_path / "wall.png")]


def test_bad_input_ends_with_2(run, photo, tmp_path):
    code, _, err = run(photo, "--label", "cone", "--height", -1, "--out", tmp_path / "set")

    assert code == 2
    assert "height" in err
