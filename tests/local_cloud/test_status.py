"""What 'defectory local status' tells of endpoints and state machines."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from defectory.cli import main
from defectory.local import instance
from tests.local_cloud.laboratory import REAL_TIME, Laboratory, unique
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture
def registry(laboratory: Laboratory, tmp_path: Path) -> Iterator[Path]:
    """A folder where the cloud is noted as running."""
    cloud = laboratory.cloud
    told = {"pid": os.getpid(), "started_at": "now", "persistent": False, "outbox": cloud.outbox_folder}
    running = {name: getattr(cloud.settings, name) for name in ("account", "secret", "region", "folder")}
    lock = instance.lock(tmp_path)
    instance.note(tmp_path, instance.Instance(endpoint=cloud.endpoint, **running, **told))
    yield tmp_path
    os.close(lock)


def test_status_tells_of_endpoints_and_executions(
    laboratory: Laboratory, registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = laboratory.endpoint(laboratory.container())
    bad = unique("bad")
    config = laboratory.config(laboratory.container("broken"), **REAL_TIME)
    laboratory.sagemaker.create_endpoint(EndpointName=bad, EndpointConfigName=config)
    laboratory.settled(bad)
    machines = laboratory.cloud.client("stepfunctions")
    states = {"Refuse": {"Type": "Fail", "Error": "Gate.Closed", "Cause": "worse than the current model"}}
    definition = json.dumps({"StartAt": "Refuse", "States": states})
    machine, _ = (
        machines.create_state_machine(name=kind.lower(), definition=definition, roleArn=ROLE, type=kind)
        for kind in ("STANDARD", "EXPRESS")
    )
    execution = machines.start_execution(stateMachineArn=machine["stateMachineArn"], name="first")["executionArn"]
    eventually(lambda: machines.describe_execution(executionArn=execution)["status"] == "FAILED", "failure")

    command = ["local", "status", "--state", str(registry)]
    with contextlib.suppress(SystemExit):
        main([*command, "--json"])
    seen = json.loads(capsys.readouterr().out)
    with contextlib.suppress(SystemExit):
        main(command)
    shown = capsys.readouterr().out
    endpoints = {endpoint["name"]: endpoint for endpoint in seen["endpoints"]}
    assert (endpoints[good]["status"], endpoints[good]["kind"]) == ("InService", "serverless")
    assert (endpoints[bad]["status"], "ping health check" in endpoints[bad]["reason"]) == ("Failed", True)
    (run,) = next(found for found in seen["state_machines"] if found["name"] == "standard")["executions"]
    assert (run["name"], run["status"]) == ("first", "FAILED")
    assert run["error"] == "Gate.Closed: worse than the current model"
    for expected in (f"Endpoint {good} (serverless): InService", "State machine express", "Gate.Closed"):
        assert expected in shown
