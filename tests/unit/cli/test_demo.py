"""``defectory demo``: what it shows fits on a small terminal, and photos are parted before anything is started."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from defectory.cli.demo import detection
from defectory.cli.demo.inspection import INSPECTED, LEAST, choose_photos, summarise_parts
from defectory.errors import InputError
from defectory.vision.images import load_image


def test_the_table_of_parts_is_whole_on_80_columns():
    console = Console(file=io.StringIO(), width=80)
    row = {"verdict": "REVIEW", "score": 0.143, "confidence": 1.0, "model_version": "41227e8e3565d3b0"}
    keys = ["defective/missing-hole-0012.png", "good/flange-0001.png"]
    summarise_parts(console, dict.fromkeys(keys, row) | {"good/torn.png": {"status": "UNREADABLE"}})
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert all(text in shown for text in [*keys, "41227e8e3565d3b0", "REVIEW", "UNREADABLE"])
    assert "…" not in shown


def write_photos(folder, good, defective):
    for name, count in (("normal", good), ("anomaly", defective)):
        (folder / name).mkdir()
        for number in range(count):
            (folder / name / f"{number:02d}.png").touch()
    return folder


def test_photos_are_learnt_from_tested_with_or_inspected_never_two_of_these(tmp_path):
    # Given 12 good and 8 defective photos, then 3 of each are inspected, a quarter of the good ones tests, 6 are learnt
    photos = choose_photos(write_photos(tmp_path, 12, 8))
    parts = (photos.training, photos.test_good, photos.good, photos.test_defective, photos.defective)
    assert [len(paths) for paths in parts] == [6, 3, INSPECTED, 5, INSPECTED]
    assert len({path for paths in parts for path in paths}) == 20


@pytest.mark.parametrize(("good", "defective"), [(LEAST - 1, 2), (LEAST, 1)])
def test_too_few_photos_are_refused(tmp_path, good, defective):
    with pytest.raises(InputError, match=f"photos: .*got '{good} and {defective}'"):
        choose_photos(write_photos(tmp_path, good, defective))


def test_a_detector_is_trained_and_its_boxes_are_drawn(tmp_path, monkeypatch):
    for name, value in {"SCENES": 12, "TEST_SCENES": 4, "SIDE": 128, "SHOWN": 4, "ACROSS": 2}.items():
        monkeypatch.setattr(detection, name, value)
    detected = detection.detect_objects(tmp_path)
    console = Console(file=io.StringIO(), width=200)
    assert detection.show_detection(console, detected) == bool(detected.evaluation.map50)
    assert "on 4 scenes of unseen people and places: person" in console.file.getvalue()
    assert load_image(detected.picture).shape == (256, 256, 3)
    assert detected.report.is_file()
