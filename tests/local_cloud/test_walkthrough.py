"""The notebook that uses the deployed application runs from top to bottom; its assertions hold."""

import pytest

from tests.support.notebooks import run_notebook


@pytest.mark.xdist_group("application")
def test_the_inspection_walkthrough_runs_against_the_local_cloud(applications, monkeypatch, tmp_path):
    cloud = applications["catalogue"].cloud

    printed = run_notebook("visual-inspection.ipynb", monkeypatch, tmp_path, **cloud.environment())

    assert "IN_SERVICE" in printed
    assert "heatmap: " in printed
