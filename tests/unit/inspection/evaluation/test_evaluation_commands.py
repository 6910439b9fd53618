"""``evaluate`` and ``report`` as commands, with a real model."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from defectory.cli.inspect.evaluate import evaluate, report
from defectory.datasets import load_dataset, split
from defectory.errors import InputError
from tests.unit.inspection.conftest import render_part, write_images

app = typer.Typer()
app.command()(evaluate)
app.command()(report)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory) -> Path:
    return model.save(tmp_path_factory.mktemp("bundle") / "washers.tar.gz")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six good washers, and four with a blot whose masks lie beside them."""
    root, place = tmp_path / "photos", (70, 40)
    write_images(root / "normal", [render_part(seed) for seed in range(50, 56)])
    (root / "masks").mkdir()
    for path in write_images(root / "anomaly", [render_part(seed, blot=place) for seed in range(60, 64)]):
        cv2.imwrite(str(root / "masks" / path.name), cv2.circle(np.zeros((96, 96), np.uint8), place, 7, 255, -1))
    return root


def test_a_real_model_is_evaluated(bundle, photos, tmp_path):
    code, out, _ = run("evaluate", bundle, photos, "--out", tmp_path / "out", "--json")

    evaluation = json.loads(out)
    assert code == 0
    assert evaluation["metrics"]["auroc"]["value"] == 1
    assert evaluation["training_images"] == 12
    assert evaluation["pixels"]["masks"] == 4
    assert evaluation["pixels"]["auroc"]["value"] > 0.95
    assert evaluation["pixels"]["recall"] > 0.95
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"evaluation.json", "EvaluationResult.json", "EvaluationManifest.json", "report.html", "pictures"}


def test_people_read_a_table_and_which_photo_could_not_be_read(bundle, photos, tmp_path):
    (photos / "normal" / "part-00.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    code, out, err = run("evaluate", bundle, photos, "--out", tmp_path / "out")

    assert code == 1
    assert "normal/part-00.png" in err
    assert "9 images" in out
    assert "escapes (defective, PASS)" in out
    assert "report.html" in out.replace("\n", "")


def test_of_a_stored_split_the_test_part_is_taken(bundle, photos, tmp_path):
    parts = split(load_dataset(photos), test=0.5, seed=3)
    (tmp_path / "split").mkdir()
    parts.save(tmp_path / "split")

    _, out, _ = run("evaluate", bundle, tmp_path / "split", "--out", tmp_path / "out", "--json")

    evaluation = json.loads(out)
    assert evaluation["dataset_version"] == parts.test.version
    assert len(evaluation["images"]) == len(parts.test.records)


def test_the_page_is_written_again_from_the_evaluations_own_files(bundle, photos, tmp_path):
    run("evaluate", bundle, photos, "--out", tmp_path / "out")
    page = tmp_path / "out" / "report.html"
    before = page.read_bytes()
    page.unlink()
    for path in photos.rglob("*.png"):
        path.unlink()

    code, out, _ = run("report", tmp_path / "out")

    assert (code, out.strip()) == (0, str(page))
    assert page.read_bytes() == before


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="defectory inspect evaluate"):
        run("report", tmp_path)
