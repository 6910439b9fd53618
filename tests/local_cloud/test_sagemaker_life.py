"""The local SageMaker when its cloud ends, and when it begins again."""

from pathlib import Path

import pytest

from defectory.local.cloud import LocalCloud
from tests.local_cloud.laboratory import Laboratory, ended, unique
from tests.local_cloud.processes import belonging
from tests.local_cloud.roles import create_role
from tests.local_cloud.sample_app import eventually
from tests.local_cloud.signed import send, sign

pytestmark = pytest.mark.xdist_group("local-cloud-life")


def transform_asleep(laboratory: Laboratory) -> str:
    """A transform job whose container is at work, and stays so."""
    name, uri = unique("asleep"), laboratory.put("asleep/a.txt", b"sleep")
    laboratory.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=laboratory.model(laboratory.container()),
        TransformInput={
            "ContentType": "application/octet-stream",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
        },
        TransformOutput={"S3OutputPath": uri.replace("asleep/a.txt", "asleep/out")},
        TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    )
    eventually(lambda: belonging(laboratory.cloud.settings.work / "transform"), "container")
    return name


def test_cloud_ends_with_all_processes_and_begins_again_with_all_resources(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with LocalCloud(state=state) as cloud:
        create_role(cloud)
        laboratory = Laboratory(cloud)
        laboratory.furnish()
        endpoint = laboratory.endpoint(laboratory.container("kept"))
        pid = laboratory.ask(endpoint)["pid"]
        request = laboratory.job(mode="sleep")
        job = request["TrainingJobName"]
        laboratory.sagemaker.create_training_job(**request)
        transform = transform_asleep(laboratory)
        eventually(lambda: belonging(cloud.settings.work / "training"), "training")
    assert ended(pid)
    assert belonging(state) == []
    with LocalCloud(state=state) as cloud:
        laboratory = Laboratory(cloud)
        assert laboratory.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
        assert laboratory.ask(endpoint)["greeting"] == "kept"
        found = laboratory.sagemaker.describe_training_job(TrainingJobName=job)
        assert (found["TrainingJobStatus"], "stopped while" in found["FailureReason"]) == ("Failed", True)
        found = laboratory.sagemaker.describe_transform_job(TransformJobName=transform)
        assert (found["TransformJobStatus"], "stopped while" in found["FailureReason"]) == ("Failed", True)
        assert laboratory.train(laboratory.job(greeting="again"))["TrainingJobStatus"] == "Completed"


def test_reset_ends_and_forgets_everything() -> None:
    with LocalCloud() as cloud:
        create_role(cloud)
        laboratory = Laboratory(cloud)
        laboratory.furnish()
        pid = laboratory.ask(laboratory.endpoint(laboratory.container()))["pid"]
        laboratory.sagemaker.create_training_job(**laboratory.job(mode="sleep"))
        transform_asleep(laboratory)
        eventually(lambda: belonging(cloud.settings.work / "training"), "training")
        headers = sign(cloud, "POST", "/_ministack/reset")
        assert send(cloud, "POST", "/_ministack/reset", headers=headers).status == 200
        assert laboratory.sagemaker.list_endpoints()["Endpoints"] == []
        assert laboratory.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
        assert laboratory.sagemaker.list_transform_jobs()["TransformJobSummaries"] == []
        folders = [cloud.settings.work / name for name in ("training", "transform")]
        eventually(lambda: ended(pid) and not any(map(belonging, folders)), "end of the processes")
