"""Every notebook runs from top to bottom; its assertions hold."""

import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.support.image_server import ImageServer
from tests.support.permissions import keep_or_compare

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def run(name: str, monkeypatch, tmp_path, **environment: str) -> str:
    """Execute a notebook in the repository's environment and return all it printed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}})
    client.execute(env=dict(os.environ))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.xdist_group("notebooks")
def test_the_sensor_data_tutorial_runs(monkeypatch, tmp_path):
    printed = run("sensor-data.ipynb", monkeypatch, tmp_path)
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
def test_the_comparison_runs_on_stored_figures(monkeypatch, tmp_path):
    monkeypatch.delenv("DEFECTORY_REAL_TRACES", raising=False)
    assert "stored figures" in run("real-traces.ipynb", monkeypatch, tmp_path)


@pytest.mark.xdist_group("notebooks")
def test_the_comparison_computes_from_a_folder_of_traces(monkeypatch, tmp_path, traces):
    real = os.environ.get("DEFECTORY_REAL_TRACES", "")
    printed = run("real-traces.ipynb", monkeypatch, tmp_path, DEFECTORY_REAL_TRACES=real or str(traces))
    assert "computed from the traces" in printed


@pytest.mark.xdist_group("notebooks")
def test_the_inspection_walkthrough_runs_against_the_local_cloud(monkeypatch, tmp_path):
    assembly = synthesise(tmp_path / "cdk.out")
    with LocalCloud() as cloud:
        cloud.deploy(assembly)
        printed = run("visual-inspection.ipynb", monkeypatch, tmp_path, **cloud.environment())
        keep_or_compare(cloud)

    assert "IN_SERVICE" in printed
    assert "heatmap: " in printed


@pytest.mark.xdist_group("notebooks")
def test_the_defect_image_tutorial_runs_with_bedrock(monkeypatch, tmp_path):
    with ImageServer() as bedrock:
        printed = run(
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
