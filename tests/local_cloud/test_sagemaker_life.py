"""The local SageMaker when its cloud ends, and when it begins again; and what 'local status' tells of it."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from defectory.cli import main
from defectory.local import instance
from defectory.local.cloud import LocalCloud
from tests.local_cloud.laboratory import REAL_TIME, ROLE, Laboratory, ended, unique
from tests.local_cloud.processes import belonging
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud-life")


def test_cloud_ends_with_all_processes_and_begins_again_with_all_resources(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with LocalCloud(state=state) as cloud:
        laboratory = Laboratory(cloud)
        laboratory.furnish()
        endpoint = laboratory.endpoint(laboratory.container("kept"))
        pid = laboratory.ask(endpoint)["pid"]
        request = laboratory.job(mode="sleep")
        job = request["TrainingJobName"]
        laboratory.sagemaker.create_training_job(**request)
        eventually(lambda: belonging(cloud.settings.work / "training"), "training")
    assert ended(pid)
    assert belonging(state) == []
    with LocalCloud(state=state) as cloud:
        laboratory = Laboratory(cloud)
        assert laboratory.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
        assert laboratory.ask(endpoint)["greeting"] == "kept"
        found = laboratory.sagemaker.describe_training_job(TrainingJobName=job)
        assert (found["TrainingJobStatus"], "stopped while" in found["FailureReason"]) == ("Failed", True)
        assert laboratory.train(laboratory.job(greeting="again"))["TrainingJobStatus"] == "Completed"


def test_status_tells_of_endpoints_and_executions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalCloud(registry=tmp_path) as cloud:
        told = {"pid": os.getpid(), "started_at": "now", "persistent": False, "outbox": cloud.outbox_folder}
        running = {name: getattr(cloud.settings, name) for name in ("account", "region", "folder")}
        instance.note(tmp_path, instance.Instance(endpoint=cloud.endpoint, **running, **told))
        laboratory = Laboratory(cloud)
        laboratory.furnish()
        good = laboratory.endpoint(laboratory.container())
        bad = unique("bad")
        config = laboratory.config(laboratory.container("broken"), **REAL_TIME)
        laboratory.sagemaker.create_endpoint(EndpointName=bad, EndpointConfigName=config)
        laboratory.settled(bad)
        machines = cloud.client("stepfunctions")
        for kind in ("STANDARD", "EXPRESS"):
            states = {"Refuse": {"Type": "Fail", "Error": "Gate.Closed", "Cause": "worse than the current model"}}
            definition = json.dumps({"StartAt": "Refuse", "States": states})
            machines.create_state_machine(name=kind.lower(), definition=definition, roleArn=ROLE, type=kind)
        (arn,) = (
            m["stateMachineArn"] for m in machines.list_state_machines()["stateMachines"] if m["name"] == "standard"
        )
        execution = machines.start_execution(stateMachineArn=arn, name="first")["executionArn"]
        eventually(lambda: machines.describe_execution(executionArn=execution)["status"] == "FAILED", "failure")

        command = ["local", "status", "--state", str(tmp_path)]
        with contextlib.suppress(SystemExit):
            main([*command, "--json"])
        seen = json.loads(capsys.readouterr().out)
        with contextlib.suppress(SystemExit):
            main(command)
        shown = capsys.readouterr().out
    endpoints = {endpoint["name"]: endpoint for endpoint in seen["endpoints"]}
    assert (endpoints[good]["status"], endpoints[good]["kind"]) == ("InService", "serverless")
    assert (endpoints[bad]["status"], "ping health check" in endpoints[bad]["reason"]) == ("Failed", True)
    (run,) = next(machine for machine in seen["state_machines"] if machine["name"] == "standard")["executions"]
    assert (run["name"], run["status"]) == ("first", "FAILED")
    assert run["error"] == "Gate.Closed: worse than the current model"
    for expected in (f"Endpoint {good} (serverless): InService", "State machine express", "Gate.Closed"):
        assert expected in shown
