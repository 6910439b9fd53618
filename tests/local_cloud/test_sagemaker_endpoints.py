"""SageMaker's endpoints in the local cloud: they run the entry points that its containers would run."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from defectory.inspection.line.endpoint import InspectionEndpoint
from defectory.line.endpoint import EndpointAnswerError, EndpointBusyError
from tests.local_cloud.laboratory import BUCKET, REAL_TIME, Laboratory, ended, packed, unique
from tests.local_cloud.processes import belonging
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture(scope="module")
def greeter(laboratory: Laboratory) -> str:
    return laboratory.endpoint(
        laboratory.container(GREETER="/opt/ml/model/model.json", SAGEMAKER_MODEL_SERVER_TIMEOUT="1")
    )


def refused(laboratory: Laboratory, endpoint: str, body: bytes, **options: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refusal:
        laboratory.ask(endpoint, body, **options)
    return refusal.value.response


def test_answer_comes_from_the_entry_point_with_the_model(laboratory: Laboratory, greeter: str) -> None:
    body = b"\x89PNG\0\xff"
    reply = laboratory.runtime.invoke_endpoint(EndpointName=greeter, Body=body, ContentType="image/png")
    assert (reply["ContentType"], reply["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    assert reply["CustomAttributes"] == "greeted"
    answer = json.load(reply["Body"])
    assert (answer["greeting"], answer["bytes"], answer["type"]) == ("hello", 6, "image/png")
    # What a container knows as /opt/ml is a folder here; the variables lead there.
    assert answer["environment"]["GREETER"] == f"{answer['environment']['SM_MODEL_DIR']}/model.json"


def test_answer_is_of_the_accepted_type(laboratory: Laboratory, greeter: str) -> None:
    asked = {"ContentType": "image/jpeg", "Accept": "text/plain"}
    reply = laboratory.runtime.invoke_endpoint(EndpointName=greeter, Body=b"?", **asked)
    assert (reply["ContentType"], reply["Body"].read()) == ("text/plain", b"hello")


def test_refusal_of_the_entry_point_is_a_client_error(laboratory: Laboratory, greeter: str) -> None:
    told = refused(laboratory, greeter, b"GIF", ContentType="image/png")
    assert (told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert told["OriginalStatusCode"] == 400
    first, _, _ = told["OriginalMessage"].partition("\n")
    assert json.loads(first) == {"error": {"code": "BadImage", "message": "not a PNG"}}
    assert told["Error"]["Message"].startswith('Received client error (400) from primary with message "')
    assert f"/aws/sagemaker/Endpoints/{greeter}" in told["Error"]["Message"]


def test_fault_of_the_entry_point_is_a_server_error_and_is_logged(laboratory: Laboratory, greeter: str) -> None:
    told = refused(laboratory, greeter, b"raise")
    assert told["OriginalStatusCode"] == 500
    assert 'Received server error (500) from primary with message "no idea' in told["Error"]["Message"]
    eventually(lambda: "RuntimeError: no idea" in laboratory.log(f"Endpoints/{greeter}"), "log of the fault")


def test_endpoint_outlives_its_process(laboratory: Laboratory, greeter: str) -> None:
    before = laboratory.ask(greeter)["pid"]
    assert refused(laboratory, greeter, b"crash")["OriginalStatusCode"] == 502
    after = laboratory.ask(greeter)["pid"]
    assert before != after


def test_invocation_that_takes_too_long_ends_with_its_process(laboratory: Laboratory, greeter: str) -> None:
    before = laboratory.ask(greeter)["pid"]
    told = refused(laboratory, greeter, b"sleep")
    assert (told["Error"]["Code"], told["OriginalStatusCode"]) == ("ModelError", 0)
    assert "Your invocation timed out" in told["Error"]["Message"]
    assert ended(before)
    assert laboratory.ask(greeter)["greeting"] == "hello"


def test_missing_endpoint_is_told(laboratory: Laboratory) -> None:
    told = refused(laboratory, "nowhere", b"?")
    assert told["Error"]["Code"] == "ValidationError"
    assert told["Error"]["Message"] == "Endpoint nowhere of account 123456789012 not found."


def test_endpoint_that_is_being_made_is_waited_for_by_the_line(laboratory: Laboratory, tmp_path: Path) -> None:
    model = {"greeting": "at last", "sign": str(tmp_path / "sign")}
    archive = laboratory.put("models/slow.tar.gz", packed(model_json=json.dumps(model)))
    name, config = unique("endpoint"), laboratory.config({**laboratory.container(), "ModelDataUrl": archive})
    laboratory.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    line = InspectionEndpoint(name, laboratory.runtime, manager=laboratory.sagemaker)
    with pytest.raises(EndpointBusyError, match="still being made"):
        line.inspect(b"?", "application/octet-stream")
    (tmp_path / "sign").touch()
    assert laboratory.settled(name)["EndpointStatus"] == "InService"
    # It answers; a greeting is no inspection.
    with pytest.raises(EndpointAnswerError, match="nonsense"):
        line.inspect(b"?", "application/octet-stream")


def test_payload_over_the_limit_is_refused(laboratory: Laboratory, greeter: str) -> None:
    told = refused(laboratory, greeter, bytes(4 * 1024 * 1024 + 1))
    assert (told["Error"]["Code"], told["Error"]["Message"]) == ("413", "HTTP content length exceeded 4194304 bytes.")


def test_more_at_once_than_allowed_are_throttled(laboratory: Laboratory, tmp_path: Path) -> None:
    limit = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    endpoint = laboratory.endpoint(laboratory.container(), **limit)
    began, sign = tmp_path / "began", tmp_path / "sign"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(laboratory.ask, endpoint, f"touch {began}, wait for {sign}".encode())
        eventually(began.exists, "first request")
        # What boto3 would try again is to be seen here.
        impatient = boto3.client(
            "sagemaker-runtime",
            endpoint_url=laboratory.cloud.endpoint,
            region_name="us-east-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key=laboratory.cloud.settings.secret,
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(ClientError) as refusal:
            impatient.invoke_endpoint(EndpointName=endpoint, Body=b"?")
        sign.touch()
        assert waiting.result()["greeting"] == "hello"
    assert refusal.value.response["Error"]["Code"] == "ThrottlingException"
    assert laboratory.ask(endpoint)["greeting"] == "hello"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ModelDataUrl": f"s3://{BUCKET}/models/none.tar.gz"}, "The object models/none.tar.gz does not exist"),
        ({"ModelDataUrl": f"s3://{BUCKET}/data/anomaly/c.txt"}, "is not an archive as of 'tar -czf'"),
        ({"program": "absent.py"}, "the entry point absent.py is not in the code, where there is: inference.py"),
        ({"greeting": "broken"}, "did not pass the ping health check"),
    ],
)
def test_endpoint_that_cannot_serve_says_why(laboratory: Laboratory, change: dict[str, str], reason: str) -> None:
    container = laboratory.container(change.pop("greeting", "hello"))
    if "program" in change:
        container["Environment"]["SAGEMAKER_PROGRAM"] = change.pop("program")
    name = unique("endpoint")
    config = laboratory.config({**container, **change})
    laboratory.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    found = laboratory.settled(name)
    assert found["EndpointStatus"] == "Failed"
    assert reason in found["FailureReason"]
    assert refused(laboratory, name, b"?")["Error"]["Code"] == "ValidationError"


def test_code_may_come_with_the_model(laboratory: Laboratory, greeter: str) -> None:
    """As SageMaker's own SDK packs it: below code/ in the model's archive."""
    from tests.local_cloud.laboratory import ENTRY, IMAGE, packed

    archive = packed(**{"model_json": '{"greeting": "hi"}', "code/inference_py": (ENTRY / "inference.py").read_text()})
    container = {"Image": IMAGE, "ModelDataUrl": laboratory.put("models/whole.tar.gz", archive)}
    assert laboratory.ask(laboratory.endpoint(container))["greeting"] == "hi"


def test_update_brings_the_new_model_and_ends_the_old_process(laboratory: Laboratory) -> None:
    endpoint = laboratory.endpoint(laboratory.container("old"), **REAL_TIME)
    before = laboratory.ask(endpoint)
    config = laboratory.config(laboratory.container("new"), **REAL_TIME)
    laboratory.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    found = laboratory.settled(endpoint)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", config)
    assert (before["greeting"], laboratory.ask(endpoint)["greeting"]) == ("old", "new")
    assert eventually(lambda: ended(before["pid"]), "end of the old process")


def test_update_that_cannot_serve_leaves_the_old_model(laboratory: Laboratory) -> None:
    endpoint = laboratory.endpoint(laboratory.container("old"))
    before = laboratory.sagemaker.describe_endpoint(EndpointName=endpoint)
    config = laboratory.config(laboratory.container("broken"))
    laboratory.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    found = laboratory.settled(endpoint)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", before["EndpointConfigName"])
    assert "did not pass the ping health check" in found["FailureReason"]
    assert laboratory.ask(endpoint)["greeting"] == "old"


def test_alarm_rolls_an_update_back(laboratory: Laboratory) -> None:
    alarm = unique("alarm")
    cloudwatch = laboratory.cloud.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace="Test",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    endpoint = laboratory.endpoint(laboratory.container("old"))
    before = laboratory.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    laboratory.sagemaker.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=laboratory.config(laboratory.container("new")),
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 0,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
        },
    )
    found = laboratory.settled(endpoint)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", before)
    assert alarm in found["FailureReason"]
    assert laboratory.ask(endpoint)["greeting"] == "old"


def test_deleted_endpoint_is_gone_with_its_process(laboratory: Laboratory) -> None:
    endpoint = laboratory.endpoint(laboratory.container())
    pid = laboratory.ask(endpoint)["pid"]
    laboratory.sagemaker.delete_endpoint(EndpointName=endpoint)
    assert refused(laboratory, endpoint, b"?")["Error"]["Code"] == "ValidationError"
    assert eventually(lambda: ended(pid), "end of the process")
    with pytest.raises(ClientError, match="Could not find endpoint"):
        laboratory.sagemaker.describe_endpoint(EndpointName=endpoint)


def test_more_endpoints_than_room_take_turns(laboratory: Laboratory) -> None:
    """Nobody notices but by a cold start: processes are as many as the machine bears, endpoints as many as wanted."""
    room = max(4, 2 * (os.cpu_count() or 1))
    container = laboratory.container()
    config = laboratory.config(container)
    names = [unique("many") for _ in range(room + 1)]
    for name in names:
        laboratory.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert {laboratory.settled(name)["EndpointStatus"] for name in names} == {"InService"}
    assert [laboratory.ask(name)["greeting"] for name in names] == ["hello"] * len(names)
    running = belonging(laboratory.cloud.settings.work / "endpoints")
    assert len(running) <= room
    for name in names:
        laboratory.sagemaker.delete_endpoint(EndpointName=name)


def test_model_of_a_package_serves(laboratory: Laboratory) -> None:
    group = unique("group")
    sagemaker = laboratory.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    specification = {"Containers": [laboratory.container("packed")], "SupportedContentTypes": ["image/png"]}
    specification["SupportedResponseMIMETypes"] = ["application/json"]
    arns = [
        sagemaker.create_model_package(ModelPackageGroupName=group, InferenceSpecification=specification)[
            "ModelPackageArn"
        ]
        for _ in range(2)
    ]
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2"]
    sagemaker.update_model_package(ModelPackageArn=arns[1], ModelApprovalStatus="Approved")
    (listed,) = sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")[
        "ModelPackageSummaryList"
    ]
    assert (listed["ModelPackageArn"], listed["ModelPackageVersion"]) == (arns[1], 2)
    assert laboratory.ask(laboratory.endpoint({"ModelPackageName": arns[1]}))["greeting"] == "packed"
    with pytest.raises(ClientError, match="still contains packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_names_are_taken_and_checked(laboratory: Laboratory, greeter: str) -> None:
    sagemaker = laboratory.sagemaker
    config = sagemaker.describe_endpoint(EndpointName=greeter)["EndpointConfigName"]
    for name, expected in ((greeter, "Cannot create already existing endpoint"), ("under_score", "regular expression")):
        with pytest.raises(ClientError, match=expected) as refusal:
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        assert refusal.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.create_endpoint(EndpointName=unique("endpoint"), EndpointConfigName="absent")
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.create_endpoint_config(
            EndpointConfigName="c", ProductionVariants=[{"VariantName": "v", "ModelName": "absent", **REAL_TIME}]
        )


def test_resources_of_a_template_serve(laboratory: Laboratory) -> None:
    """With Refs, which are ARNs, and with numbers as text; a new model is a new model and configuration."""
    cloudformation = laboratory.cloud.client("cloudformation")
    name, group = unique("stack"), unique("group")

    def template(container: dict[str, Any]) -> str:
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
            "ServerlessConfig": {"MemorySizeInMB": "2048", "MaxConcurrency": "3"},
        }
        resources = {
            "Model": {"PrimaryContainer": container, "ExecutionRoleArn": ROLE},
            "EndpointConfig": {"ProductionVariants": [variant]},
            "Endpoint": {"EndpointConfigName": {"Ref": "EndpointConfig"}, "EndpointName": f"{name}-inspection"},
            "ModelPackageGroup": {"ModelPackageGroupName": group},
        }
        outputs = {"Endpoint": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}, "Group": {"Ref": "ModelPackageGroup"}}
        return json.dumps(
            {
                "Resources": {
                    kind: {"Type": f"AWS::SageMaker::{kind}", "Properties": properties}
                    for kind, properties in resources.items()
                },
                "Outputs": {key: {"Value": value} for key, value in outputs.items()},
            }
        )

    def stack(status: str) -> dict[str, str]:
        (found,) = eventually(
            lambda: [
                each
                for each in cloudformation.describe_stacks(StackName=name)["Stacks"]
                if not each["StackStatus"].endswith("IN_PROGRESS")
            ],
            "stack",
        )
        assert found["StackStatus"] == status, cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    cloudformation.create_stack(StackName=name, TemplateBody=template(laboratory.container("first")))
    outputs = stack("CREATE_COMPLETE")
    assert outputs["Endpoint"] == f"{name}-inspection"
    assert outputs["Group"].endswith(f":model-package-group/{group}")
    assert laboratory.ask(outputs["Endpoint"])["greeting"] == "first"
    cloudformation.update_stack(StackName=name, TemplateBody=template(laboratory.container("second")))
    stack("UPDATE_COMPLETE")
    assert laboratory.ask(outputs["Endpoint"])["greeting"] == "second"
    cloudformation.delete_stack(StackName=name)
    eventually(lambda: refused(laboratory, outputs["Endpoint"], b"?"), "end of the endpoint")
