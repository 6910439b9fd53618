"""The notebook of scenes, detectors, Batch Transform and the safety line runs against the deployed stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.support.notebooks import run_notebook
from tests.support.permissions import keep_or_compare


def test_the_notebook_of_detection_runs_against_the_local_cloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with LocalCloud() as cloud:
        cloud.deploy(synthesise(tmp_path / "cdk.out"))

        printed = run_notebook(
            "object-detection-aws.ipynb", monkeypatch, tmp_path, **cloud.environment(), DEFECTORY_SCENES="24"
        )
        keep_or_compare(cloud)

    assert "IN_SERVICE" in printed
    assert "10 images, " in printed
    assert "aisle/one.jpg" in printed
