"""SageMaker's transform jobs in the local cloud: from objects in S3 to what a model answers to them, in S3."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud.laboratory import BUCKET, Laboratory, unique
from tests.local_cloud.processes import belonging
from tests.local_cloud.roles import ROLE, create_role, open_queue
from tests.local_cloud.sample_app import eventually
from tests.local_cloud.test_integrations import SAGEMAKER, error, run, task

pytestmark = pytest.mark.xdist_group("local-cloud")

OWN_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/capitals:1"


@pytest.fixture(scope="module")
def capitals(laboratory: Laboratory) -> str:
    """A model of a container of one's own, which answers in capitals and says how it wants to be asked."""
    container = laboratory.container()
    container["Environment"]["SAGEMAKER_PROGRAM"] = "serve.py"
    return laboratory.model({**container, "Image": OWN_IMAGE})


def request(laboratory: Laboratory, model: str, objects: dict[str, bytes], **changes: Any) -> dict[str, Any]:
    """The parameters of a job over these objects; ``source`` and ``target`` change its input and output."""
    name = unique("transform")
    for key, body in objects.items():
        laboratory.put(f"{name}/in/{key}", body)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in/"} | changes.pop("data", {})
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {"DataSource": {"S3DataSource": source}, **changes.pop("source", {})},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{name}/out", **changes.pop("target", {})},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        **changes,
    }


def outputs(laboratory: Laboratory, job: dict[str, Any]) -> dict[str, str]:
    """What a job wrote, by the names below its output."""
    prefix = f"{job['TransformJobName']}/out/"
    found = laboratory.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {
        entry["Key"].removeprefix(prefix): laboratory.get(f"s3://{BUCKET}/{entry['Key']}").decode() for entry in found
    }


LINES = {"SplitType": "Line", "ContentType": "text/plain"}


def test_each_line_is_a_record_and_each_object_becomes_one(laboratory: Laboratory, capitals: str) -> None:
    objects = {"a.txt": b"one\ntwo\r\n\nthree\n", "sub/b c.txt": b"four"}
    target = {"AssembleWith": "Line", "Accept": "text/csv"}
    job = laboratory.transform(**request(laboratory, capitals, objects, source=LINES, target=target))
    assert job["TransformJobStatus"] == "Completed", job
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    told = "|text/plain|text/csv\n"
    # The container wants single records.
    assert outputs(laboratory, job) == {
        "a.txt.out": f"ONE{told}TWO{told}THREE{told}",
        "sub/b c.txt.out": f"FOUR{told}",
    }
    log = laboratory.log("TransformJobs", job["TransformJobName"])
    assert "MaxConcurrentTransforms=3, MaxPayloadInMB=1, BatchStrategy=SINGLE_RECORD" in log
    (summary,) = laboratory.sagemaker.list_transform_jobs(NameContains=job["TransformJobName"])["TransformJobSummaries"]
    assert summary["TransformJobStatus"] == "Completed"


def test_the_request_goes_before_what_the_container_wants(laboratory: Laboratory, capitals: str) -> None:
    half = 600_000
    objects = {"a.txt": b"\n".join([b"x", b"y", b"a" * half, b"b" * half, b"z"])}
    how = {"BatchStrategy": "MultiRecord", "MaxPayloadInMB": 1, "MaxConcurrentTransforms": 1, "source": LINES}
    job = laboratory.transform(**request(laboratory, capitals, objects, target={"AssembleWith": "Line"}, **how))
    # As many lines together as fit into a payload.
    answers = outputs(laboratory, job)["a.txt.out"].splitlines()
    assert [len(answer.partition("|")[0]) for answer in answers] == [4 + half, half + 2]


def test_an_object_may_be_one_payload_and_answers_may_follow_each_other(laboratory: Laboratory, capitals: str) -> None:
    objects = {"a.txt": b"one\ntwo", "b.txt": b""}
    job = laboratory.transform(**request(laboratory, capitals, objects))
    assert outputs(laboratory, job) == {"a.txt.out": "ONE/TWO|None|None", "b.txt.out": "|None|None"}
    job = laboratory.transform(**request(laboratory, capitals, objects, source=LINES))
    assert outputs(laboratory, job) == {"a.txt.out": "ONE|text/plain|NoneTWO|text/plain|None", "b.txt.out": ""}


def test_a_manifest_names_the_objects(laboratory: Laboratory, capitals: str) -> None:
    job = request(laboratory, capitals, {"a.txt": b"one", "sub/b.txt": b"two", "c.txt": b"three"})
    prefix = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    manifest = json.dumps([{"prefix": prefix}, "sub/b.txt", "a.txt"]).encode()
    uri = laboratory.put(f"{job['TransformJobName']}/manifest.json", manifest)
    job["TransformInput"]["DataSource"]["S3DataSource"] = {"S3DataType": "ManifestFile", "S3Uri": uri}
    assert set(outputs(laboratory, laboratory.transform(**job))) == {"sub/b.txt.out", "a.txt.out"}


def test_a_container_of_aws_serves_the_functions_of_a_program_and_says_nothing_of_how(laboratory: Laboratory) -> None:
    model = laboratory.model(laboratory.container("hi"))
    source = {"ContentType": "text/plain"}
    job = laboratory.transform(**request(laboratory, model, {"a.txt": b"one"}, source=source))
    answer = json.loads(outputs(laboratory, job)["a.txt.out"])
    assert (answer["greeting"], answer["bytes"], answer["type"]) == ("hi", 3, "text/plain")
    log = laboratory.log("TransformJobs", job["TransformJobName"])
    assert "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD" in log
    assert "loaded hi" in log
    # Nothing of it is left running.
    assert not belonging(laboratory.cloud.settings.work / "transform")


def test_the_container_knows_that_it_works_for_a_job(laboratory: Laboratory, capitals: str) -> None:
    how = {"BatchStrategy": "SingleRecord", "Environment": {"LANGUAGE": "en"}}
    job = laboratory.transform(**request(laboratory, capitals, {"a.txt": b"environment"}, **how))
    assert json.loads(outputs(laboratory, job)["a.txt.out"]) == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "LANGUAGE": "en",
    }


def test_objects_that_fail_are_not_uploaded_and_the_others_are(laboratory: Laboratory, capitals: str) -> None:
    objects = {"a.txt": b"one\nrefuse\ntwo", "b.txt": b"three", "c.txt": b"x" * 1_048_577}
    job = laboratory.transform(**request(laboratory, capitals, objects, source=LINES))
    assert set(outputs(laboratory, job)) == {"b.txt.out"}
    assert job["TransformJobStatus"] == "Failed"
    place = f"{BUCKET}/{job['TransformJobName']}/in"
    assert job["FailureReason"] == (
        "AlgorithmError: See job logs for more information. 2 of 3 objects failed, "
        f"first {place}/a.txt: ClientError: 400: not this one"
    )
    log = laboratory.log("TransformJobs", job["TransformJobName"])
    assert f"{place}/c.txt: Too much data for max payload size" in log


def test_a_server_error_is_tried_again_as_often_as_allowed(laboratory: Laboratory, capitals: str) -> None:
    job = laboratory.transform(**request(laboratory, capitals, {"a.txt": b"fail once"}))
    assert outputs(laboratory, job) == {"a.txt.out": "failed 2"}
    client = {"InvocationsMaxRetries": 1}
    job = laboratory.transform(**request(laboratory, capitals, {"a.txt": b"fail"}, ModelClientConfig=client))
    assert "Bad HTTP status received from algorithm: 500: failed 2" in job["FailureReason"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"crash", "Unable to get response from algorithm"), (b"sleep", "did not respond to /invocations request within")],
)
def test_a_container_that_does_not_answer_fails_the_job(
    laboratory: Laboratory, capitals: str, body: bytes, reason: str
) -> None:
    client = {"InvocationsTimeoutInSeconds": 1}
    job = laboratory.transform(**request(laboratory, capitals, {"a.txt": body}, ModelClientConfig=client))
    assert (job["TransformJobStatus"], reason in job["FailureReason"]) == ("Failed", True), job
    assert not outputs(laboratory, job)


def test_a_stopped_job_leaves_nothing(laboratory: Laboratory, capitals: str) -> None:
    job = request(laboratory, capitals, {"a.txt": b"one", "b.txt": b"sleep"})
    laboratory.sagemaker.create_transform_job(**job)
    name = job["TransformJobName"]
    eventually(lambda: belonging(laboratory.cloud.settings.work / "transform"), "container")
    laboratory.sagemaker.stop_transform_job(TransformJobName=name)
    assert laboratory.transformed(name)["TransformJobStatus"] == "Stopped"
    assert not outputs(laboratory, job)
    with pytest.raises(ClientError, match="is in status Stopped"):
        laboratory.sagemaker.stop_transform_job(TransformJobName=name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"MaxPayloadInMB": 26, "MaxConcurrentTransforms": 4}, "must not exceed 100 MB"),
        ({"MaxPayloadInMB": 0}, "the local cloud streams no payload"),
        ({"source": {"SplitType": "RecordIO"}}, "SplitType: the local cloud knows None and Line, got RecordIO"),
        ({"source": {"CompressionType": "Gzip"}}, "CompressionType: the local cloud knows None, got Gzip"),
        ({"data": {"S3DataType": "AugmentedManifestFile"}}, "S3DataType: the local cloud knows S3Prefix and Manifest"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "JoinSource: the local cloud knows None, got Input"),
        ({"DataProcessing": {"OutputFilter": "$.a"}}, r"OutputFilter: the local cloud knows \$"),
        ({"BatchStrategy": "Both"}, "BatchStrategy: the local cloud knows MultiRecord and SingleRecord, got Both"),
        ({"target": {"AssembleWith": "Comma"}}, "AssembleWith: the local cloud knows None and Line, got Comma"),
        ({"ModelName": "absent"}, 'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/absent"'),
    ],
)
def test_what_is_not_done_is_refused(
    laboratory: Laboratory, capitals: str, change: dict[str, Any], reason: str
) -> None:
    parameters = request(laboratory, capitals, {}, **change)
    with pytest.raises(ClientError, match=reason):
        laboratory.sagemaker.create_transform_job(**parameters)
    with pytest.raises(ClientError, match="Could not find requested job with name"):
        laboratory.sagemaker.describe_transform_job(TransformJobName=parameters["TransformJobName"])


def test_what_is_missing_is_the_reason(laboratory: Laboratory, capitals: str) -> None:
    job = laboratory.transform(**request(laboratory, capitals, {}))
    assert job["FailureReason"].startswith("ClientError: No S3 objects found under S3 URL")
    target = {"S3OutputPath": "s3://no-such-bucket/out"}
    job = laboratory.transform(**request(laboratory, capitals, {"a.txt": b"one"}, target=target))
    assert "cannot be written" in job["FailureReason"]
    broken = laboratory.model(laboratory.container("broken"))
    job = laboratory.transform(**request(laboratory, broken, {"a.txt": b"one"}))
    assert "did not pass the ping health check" in job["FailureReason"]


def test_a_job_does_what_the_models_role_may(laboratory: Laboratory) -> None:
    bucket = {"Action": ["s3:ListBucket", "s3:GetObject"], "Resource": [f"arn:aws:s3:::{BUCKET}*"], "Effect": "Allow"}
    image = {"Action": "ecr:*", "Resource": "*", "Effect": "Allow"}
    role = create_role(laboratory.cloud, unique("sagemaker-reader"), bucket, image)
    model = unique("model")
    sagemaker = laboratory.sagemaker
    sagemaker.create_model(ModelName=model, PrimaryContainer=laboratory.container(), ExecutionRoleArn=role)
    job = laboratory.transform(**request(laboratory, model, {"a.txt": b"one"}, source={"ContentType": "text/plain"}))
    assert "AccessDenied" in job["FailureReason"]
    assert "s3:PutObject" in job["FailureReason"]


def test_a_state_machine_waits_for_a_job_and_hears_why_it_failed(laboratory: Laboratory, capitals: str) -> None:
    good = request(laboratory, capitals, {"a.txt": b"one"})
    found = run(laboratory, {"Transform": task(f"{SAGEMAKER}createTransformJob.sync", good)})
    result = json.loads(found["output"])
    assert (result["TransformJobStatus"], result["ModelName"]) == ("Completed", capitals)
    assert isinstance(result["TransformEndTime"], int)
    assert set(outputs(laboratory, good)) == {"a.txt.out"}
    bad = request(laboratory, capitals, {"a.txt": b"refuse"})
    name, cause = error(laboratory, task(f"{SAGEMAKER}createTransformJob.sync", bad))
    assert name == "States.TaskFailed"
    assert "400: not this one" in json.loads(cause)["FailureReason"]
    assert error(laboratory, task(f"{SAGEMAKER}createTransformJob.sync", good))[0] == "SageMaker.ResourceInUseException"


def test_a_job_ends_with_its_task(laboratory: Laboratory, capitals: str) -> None:
    job = request(laboratory, capitals, {"a.txt": b"sleep"})
    name, _ = error(laboratory, task(f"{SAGEMAKER}createTransformJob.sync", job, TimeoutSeconds=1))
    assert name == "States.Timeout"
    assert laboratory.transformed(job["TransformJobName"])["TransformJobStatus"] == "Stopped"


def test_rules_hear_of_the_end(laboratory: Laboratory, capitals: str) -> None:
    events, sqs = laboratory.cloud.client("events"), laboratory.cloud.client("sqs")
    job = request(laboratory, capitals, {"a.txt": b"one"})
    name = job["TransformJobName"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Transform Job State Change"],
        "detail": {"TransformJobName": [name], "TransformJobStatus": ["Completed"]},
    }
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": open_queue(laboratory.cloud, queue)}])
    laboratory.transform(**job)
    [message] = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "event")
    assert isinstance(json.loads(message["Body"])["detail"]["TransformEndTime"], int)
    assert ROLE not in message["Body"]
