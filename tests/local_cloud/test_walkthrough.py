"""The notebook that uses the deployed application runs from top to bottom; its assertions hold."""

import pytest

from tests.support.notebooks import run_notebook


@pytest.mark.xdist_group("application")
def test_the_inspection_walkthrough_runs_against_the_local_cloud(applications, monkeypatch, tmp_path):
    app = applications["catalogue"]
    cloud, sagemaker = app.cloud, app.cloud.client("sagemaker")
    # As for somebody who comes first: tests of the line may have made an endpoint by hand.
    if sagemaker.list_endpoints(NameContains=app.outputs["EndpointName"])["Endpoints"]:
        sagemaker.delete_endpoint(EndpointName=app.outputs["EndpointName"])

    printed = run_notebook("visual-inspection.ipynb", monkeypatch, tmp_path, **cloud.environment())

    assert "IN_SERVICE" in printed
    assert "heatmap: " in printed
