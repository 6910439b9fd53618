"""A bundle's numbers do not depend on threads or on who asks, and on the processor within a stated tolerance."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from defectory.inspection.model import Model
from defectory.inspection.numerics import CONFIDENCE_TOLERANCE, SCORE_TOLERANCE, SMALLEST_SCALE, one_thread
from defectory.inspection.thresholds import confidence_of
from defectory.inspection.training import TrainingOptions, train
from defectory.vision.images import load_image
from tests.unit.inspection.conftest import render_part, write_images

PROBE = """
import json, sys
from pathlib import Path
from defectory.vision.images import load_image
from defectory.inspection.model import load_model
for bundle in sys.argv[2:]:
    model = load_model(Path(bundle))
    for path in sorted(Path(sys.argv[1]).iterdir()):
        inspection = model.inspect(load_image(path))
        print(json.dumps([inspection.score, inspection.confidence, int(inspection.mask.sum())]))
"""
ROOT = Path(__file__).parent.parent.parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE")


@pytest.fixture(scope="module")
def models(good_parts: list[Path]) -> list[Model]:
    """One of each detector, the second with both heads."""
    folder = good_parts[0].parent
    defects = write_images(folder.with_name("numerics-defects"), [render_part(30 + n, blot=(30, 48)) for n in range(6)])
    return [
        train(good_parts, options=TrainingOptions(resolution=96, detector="patchcore")),
        train(good_parts, defects=defects, options=TrainingOptions(resolution=96, detector="padim")),
    ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = [render_part(50), render_part(51, blot=(40, 30)), render_part(52, scratch=(50, 70))]
    return write_images(tmp_path_factory.mktemp("photos"), images)[0].parent


@pytest.fixture(scope="module")
def bundles(models: list[Model], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return [model.save(folder / f"{number}.tar.gz") for number, model in enumerate(models)]


def probe(photos: Path, bundles: list[Path], **variables: str) -> list[list[float]]:
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    command = [sys.executable, "-c", PROBE, str(photos), *map(str, bundles)]
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked_here(photos: Path, models: list[Model]) -> list[list[float]]:
    inspected = [model.inspect(load_image(path)) for model in models for path in sorted(photos.iterdir())]
    return [[each.score, each.confidence, int(each.mask.sum())] for each in inspected]


@pytest.mark.parametrize("child", [None, 1, 2])
def test_threads_change_no_digit(photos, models, bundles, child):
    variables = {"OMP_NUM_THREADS": str(child)} if child else {}

    theirs = probe(photos, bundles, **variables)

    for parent in (None, 1, 2):
        with threadpool_limits(parent):
            assert asked_here(photos, models) == theirs


def test_other_instruction_sets_stay_within_the_tolerance(photos, models, bundles):
    ours = asked_here(photos, models)
    fails = [model.card.thresholds.fail for model in models for _ in photos.iterdir()]
    for kind in ("Prescott", "Haswell"):
        # Of no effect where numpy brings another BLAS; then the numbers are simply the same.
        for (score, confidence, _), (here, sure, _), fail in zip(
            probe(photos, bundles, OPENBLAS_CORETYPE=kind), ours, fails, strict=True
        ):
            assert score == pytest.approx(here, abs=SCORE_TOLERANCE * max(here, fail))
            assert confidence == pytest.approx(sure, abs=CONFIDENCE_TOLERANCE * max(here / fail, 1))


def test_confidence_magnifies_a_score_by_no_more_than_is_said():
    fail, apart = 0.0134, SCORE_TOLERANCE * 0.0134
    # At the threshold a logistic curve of the smallest scale is steepest: 1 / (1 + exp(-0.01)) = 0.5025.
    moved = confidence_of(fail + apart, fail, fail * SMALLEST_SCALE)

    assert moved == pytest.approx(0.5025, abs=1e-6)
    assert moved - 0.5 <= CONFIDENCE_TOLERANCE
    assert math.isclose(CONFIDENCE_TOLERANCE, 0.0025)


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_who_leaves_first_does_not_lift_the_limit_of_who_stays():
    entered, leave, seen = threading.Event(), threading.Event(), []

    def stay() -> None:
        with one_thread():
            entered.set()
            leave.wait()
            seen.append(blas_threads())

    with threadpool_limits(2):
        before = blas_threads()
        staying = threading.Thread(target=stay)
        with one_thread():
            staying.start()
            entered.wait()
        leave.set()
        staying.join()

        assert seen == [{1}]
        assert blas_threads() == before


def test_a_failure_inside_lifts_the_limit():
    with threadpool_limits(2):
        before = blas_threads()
        with pytest.raises(ZeroDivisionError), one_thread():
            _ = 1 / 0
        assert blas_threads() == before
