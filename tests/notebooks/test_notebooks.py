"""The notebooks that need no cloud run from top to bottom; their assertions hold.  (The others: tests/local_cloud.)"""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.image_server import ImageServer
from tests.support.notebooks import run_notebook


@pytest.mark.xdist_group("notebooks")
def test_the_sensor_data_tutorial_runs(monkeypatch, tmp_path):
    printed = run_notebook("sensor-data.ipynb", monkeypatch, tmp_path)
    assert "labelled minutes" in printed
    assert "FAIL" not in printed


@pytest.fixture
def traces(tmp_path) -> Path:
    """Traces in the formats of NAB and of the Tennessee Eastman process, made here."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "traces"
    (folder / "nab").mkdir(parents=True)
    (folder / "tep").mkdir()
    walk = 80 + np.cumsum(rng.normal(0, 0.5, 4000)) * 0.3
    lines = [f"2014-01-01 00:00:00,{value:.4f}" for value in walk]
    (folder / "nab" / "machine_temperature_system_failure.csv").write_text(
        "timestamp,value\n" + "\n".join(lines) + "\n"
    )
    shared = np.cumsum(rng.normal(0, 1, (960, 1)), axis=0)
    np.savetxt(folder / "tep" / "d00_te.dat", 100 + 0.2 * shared + rng.normal(0, 1, (960, 52)))
    return folder


@pytest.mark.xdist_group("notebooks")
def test_the_comparison_runs_on_stored_figures_and_on_a_folder_of_traces(monkeypatch, tmp_path, traces):
    real = os.environ.get("DEFECTORY_REAL_TRACES", "")
    monkeypatch.delenv("DEFECTORY_REAL_TRACES", raising=False)
    folder = {"DEFECTORY_REAL_TRACES": real or str(traces)}

    stored, computed = run_notebook("real-traces.ipynb", monkeypatch, tmp_path, again=folder).split(
        "computed from the traces"
    )

    assert "stored figures" in stored
    for printed in (stored, computed):
        assert "strongest partner of a signal" in printed


@pytest.mark.xdist_group("notebooks")
def test_the_tutorial_of_scenes_and_detectors_runs(monkeypatch, tmp_path):
    printed = run_notebook("object-detection.ipynb", monkeypatch, tmp_path, DEFECTORY_SCENES="20")
    assert "AP50" in printed
    assert "groups compared" in printed


@pytest.mark.xdist_group("notebooks")
def test_the_defect_image_tutorial_runs_with_bedrock(monkeypatch, tmp_path):
    with ImageServer() as bedrock:
        printed = run_notebook(
            "defect-images.ipynb",
            monkeypatch,
            tmp_path,
            DEFECTORY_BEDROCK="1",
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=bedrock.endpoint,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
        )

    assert "pictures=2" in printed, "both inpainted"
    assert "four scratches: " in printed
    assert "unmeasured" in printed
    assert "image AUROC: " in printed
    assert "Left out" not in printed
