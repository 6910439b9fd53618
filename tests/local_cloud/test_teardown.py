"""``defectory aws destroy`` in the local cloud: of a deployment that was used nothing is left, of others everything."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from defectory.aws.clients import aws_client
from defectory.aws.teardown import Teardown
from defectory.cli import app
from defectory.config import STACKS
from defectory.local.cloud import LocalCloud
from tests.local_cloud.laboratory import IMAGE, SERVERLESS
from tests.local_cloud.rehearsals import RETAINED, contents
from tests.local_cloud.roles import ROLE, create_role

pytestmark = pytest.mark.xdist_group("application")

RUN, DETECTOR_RUN = (f"defectory-{kind}-20261121T150405678" for kind in ("inspection", "detection"))
# Of others, whose names begin as ours do.
OTHERS = ("defectory-inspection-mine", "defectory-inspector")


@pytest.fixture
def cloud(assemblies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A cloud with the application, whose inspection stack retains what it holds."""
    assembly = tmp_path / "cdk.out"
    shutil.copytree(assemblies["catalogue"], assembly, copy_function=os.link)
    template = assembly / "defectory-inspection.template.json"
    content = json.loads(template.read_text())
    template.unlink()
    for resource in content["Resources"].values():
        if resource["Type"] in RETAINED:
            resource["DeletionPolicy"] = "RetainExceptOnCreate"
    template.write_text(json.dumps(content))
    with LocalCloud() as cloud:
        create_role(cloud)
        cloud.deploy(assembly)
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        aws_client.cache_clear()
        yield cloud
        aws_client.cache_clear()


def use(cloud: LocalCloud) -> None:
    """Leave behind what work leaves: versions, uploads never finished, runs, models, endpoints."""
    s3, sagemaker = cloud.client("s3"), cloud.client("sagemaker")
    buckets = Teardown("defectory", STACKS, cloud.client).find().of_type("AWS::S3::Bucket")
    assert len(buckets) >= 8
    for bucket in buckets:
        for key in ("a/photo.png", "b.txt"):
            for content in (b"first", b"second"):
                s3.put_object(Bucket=bucket, Key=key, Body=content)
        s3.delete_object(Bucket=bucket, Key="b.txt")
        s3.create_multipart_upload(Bucket=bucket, Key="never finished")
    group, _ = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{buckets[0]}/model.tar.gz"}
    for _ in range(2):
        sagemaker.create_model_package(
            ModelPackageGroupName=group["ModelPackageGroupName"],
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["image/png"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
    for name in (RUN, DETECTOR_RUN, *OTHERS):
        sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {"VariantName": "AllTraffic", "ModelName": name, **SERVERLESS}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    # That it cannot start, for want of an archive, is nothing to whoever deletes it.
    sagemaker.create_endpoint(EndpointName="defectory-inspection", EndpointConfigName=RUN)
    logs = cloud.client("logs")
    for group_name, stream in (
        *(("/aws/sagemaker/TrainingJobs", f"{run}-train/algo-1") for run in (RUN, DETECTOR_RUN)),
        ("/aws/sagemaker/TrainingJobs", "defectory-inspection-mine/algo-1"),
        ("/aws/sagemaker/Endpoints/defectory-inspection", "AllTraffic/1"),
    ):
        if group_name not in {entry["logGroupName"] for entry in logs.describe_log_groups()["logGroups"]}:
            logs.create_log_group(logGroupName=group_name)
        logs.create_log_stream(logGroupName=group_name, logStreamName=stream)
    s3.create_bucket(Bucket="somebody-elses")
    s3.put_object(Bucket="somebody-elses", Key="kept.txt", Body=b"kept")


def test_of_a_deployment_that_was_used_nothing_is_left(cloud: LocalCloud) -> None:
    use(cloud)

    refused = CliRunner().invoke(app, ["aws", "destroy"], input="n\n")
    assert refused.exit_code == 1
    for words in ("defectory-inspection", "buckets", "1 endpoint", "2 model registr", "cannot be brought back"):
        assert words in refused.stderr
    assert len(contents(cloud)["stacks"]) == len(STACKS)

    done = CliRunner().invoke(app, ["aws", "destroy", "--yes", "--json"])

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["left"] == []
    left = contents(cloud)
    bootstrapped = {bucket for bucket in left["buckets"] if bucket.startswith("cdk-hnb659fds-assets-")}
    assert left.pop("buckets") == {"somebody-elses", *bootstrapped}
    assert left.pop("models") == left.pop("configs") == set(OTHERS)
    assert left.pop("roles") == {"any"}, "the operator's own"
    assert left.pop("log groups") == {"/aws/sagemaker/TrainingJobs"}
    assert {kind: names for kind, names in left.items() if names} == {}
    streams = cloud.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["defectory-inspection-mine/algo-1"]

    again = CliRunner().invoke(app, ["aws", "destroy", "--yes"])
    assert (again.exit_code, "no deployment defectory" in again.stdout) == (0, True)
