"""Training on a version of a dataset: its masks as they are coloured, and what changed since the last one."""

from __future__ import annotations

import numpy as np
import pytest

from defectory.cli import main
from defectory.datasets import Dataset, ImageRecord, save_dataset
from defectory.datasets.masks import parse_colour
from defectory.inspection.model import load_model
from defectory.inspection.training import TrainingOptions, train
from defectory.vision.images import encode_png

COLOURS = {"background": "#7878c8", "dent": "#000040", "scratch": "#23A436"}


@pytest.fixture
def version(tmp_path) -> Dataset:
    """Eight good plates, and four with a dent or a scratch: masked in colours, one of them dark, on coloured ground."""
    records = []
    for number in range(12):
        rng = np.random.default_rng(number)
        plate = np.clip(rng.normal(150, 4, (64, 64, 3)), 0, 255).astype(np.uint8)
        path, mask = tmp_path / f"plates/{number}.png", tmp_path / f"plates/{number}-mask.png"
        path.parent.mkdir(exist_ok=True)
        if number < 8:
            path.write_bytes(encode_png(plate))
            records.append(ImageRecord(path, "normal"))
            continue
        name = "dent" if number % 2 else "scratch"
        marks = np.tile(np.array(parse_colour(COLOURS["background"]), np.uint8), (64, 64, 1))
        marks[20:44, 20:44], plate[20:44, 20:44] = parse_colour(COLOURS[name]), 20
        path.write_bytes(encode_png(plate))
        mask.write_bytes(encode_png(marks))
        records.append(ImageRecord(path, "anomaly", (name,), mask, COLOURS))
    return Dataset(
        tuple(records), tmp_path, parent="0123456789abcdef", changes=("relabelled: 8.png, normal -> anomaly",)
    )


def test_the_next_training_says_what_changed(version, tmp_path, capsys):
    # Given a version of a dataset that was made from another
    save_dataset(version, tmp_path / "next/dataset.json")
    # When a model is trained on it
    arguments = ["--resolution", "64", "--detector", "patchcore", "--out", str(tmp_path / "model.tar.gz")]
    with pytest.raises(SystemExit):
        main(["inspect", "train", "--dataset", str(tmp_path / "next"), *arguments])
    # Then the command and the model's card say so
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Dataset {version.version} differs from 0123456789abcdef" in shown
    assert "relabelled: 8.png, normal -> anomaly" in shown
    card = load_model(tmp_path / "model.tar.gz").card
    assert (card.dataset, card.dataset_parent, card.dataset_changes) == (
        version.version,
        version.parent,
        version.changes,
    )
    # And the masks were read by their own colours: as if the places had been given without any
    marked = np.zeros((64, 64), bool)
    marked[20:44, 20:44] = True
    plain = train(
        [record.path for record in version.normal],
        defects=[record.path for record in version.anomalous],
        masks={record.path: {record.classes[0]: marked} for record in version.anomalous},
        classes={record.path: record.classes for record in version.anomalous},
        options=TrainingOptions(resolution=64, detector="patchcore"),
    )
    assert card.training_manifest_sha256 == plain.card.training_manifest_sha256
