"""SageMaker's training jobs in the local cloud: from channels in S3 to a model in S3."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud.laboratory import BUCKET, Laboratory, unique, unpacked
from tests.local_cloud.roles import open_queue
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture(scope="module")
def trained(laboratory: Laboratory) -> dict[str, Any]:
    """A job that has succeeded."""
    found = laboratory.train(laboratory.job(greeting="hi ", repeat=2))
    assert found["TrainingJobStatus"] == "Completed", found
    return found


@pytest.fixture(scope="module")
def model(laboratory: Laboratory, trained: dict[str, Any]) -> dict[str, Any]:
    """What the job wrote to its model."""
    return json.loads(unpacked(laboratory.get(trained["ModelArtifacts"]["S3ModelArtifacts"]))["model.json"])


def test_channel_holds_the_objects_below_its_prefix(model: dict[str, Any]) -> None:
    assert model["seen"] == {"normal/a b.txt": "good", "anomaly/c.txt": "bad"}


def test_hyperparameters_are_arguments_and_variables(model: dict[str, Any]) -> None:
    assert model["greeting"] == "hi hi "
    assert model["hyperparameters"] == {"greeting": "hi ", "repeat": 2}


def test_program_sees_the_toolkits_variables_and_its_own(model: dict[str, Any], trained: dict[str, Any]) -> None:
    expected = {"SM_CHANNELS": '["train"]', "TRAINING_JOB_NAME": trained["TrainingJobName"], "LANGUAGE": "en"}
    assert model["environment"] == expected


def test_program_finds_what_is_installed_but_not_this_checkout(model: dict[str, Any]) -> None:
    assert model["importable"] == {"numpy": True, "tests": False}


def test_job_tells_how_it_went(laboratory: Laboratory, trained: dict[str, Any]) -> None:
    statuses = [transition["Status"] for transition in trained["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert trained["TrainingStartTime"] <= trained["TrainingEndTime"]
    other = trained["ModelArtifacts"]["S3ModelArtifacts"].replace("model.tar.gz", "output.tar.gz")
    assert unpacked(laboratory.get(other)) == {"notes.txt": "well done"}
    assert "seen ['anomaly/c.txt', 'normal/a b.txt']" in laboratory.log("TrainingJobs", trained["TrainingJobName"])
    (summary,) = laboratory.sagemaker.list_training_jobs(NameContains=trained["TrainingJobName"])[
        "TrainingJobSummaries"
    ]
    assert summary["TrainingJobStatus"] == "Completed"


def test_rules_hear_of_every_state(laboratory: Laboratory) -> None:
    events, sqs = laboratory.cloud.client("events"), laboratory.cloud.client("sqs")
    name = unique("heard")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = open_queue(laboratory.cloud, queue)
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Training Job State Change"],
        "detail": {"TrainingJobName": [{"prefix": name}], "TrainingJobStatus": ["Completed", "Failed"]},
    }
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    for suffix, mode in (("-good", ""), ("-bad", "failure")):
        laboratory.train({**laboratory.job(greeting="hi", mode=mode), "TrainingJobName": name + suffix})
    details: dict[str, dict[str, Any]] = {}

    def heard() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            detail = json.loads(message["Body"])["detail"]
            details[detail["TrainingJobName"]] = detail
        return len(details) == 2

    eventually(heard, "both events")
    assert details[f"{name}-good"]["TrainingJobStatus"] == "Completed"
    assert isinstance(details[f"{name}-good"]["TrainingEndTime"], int)
    assert details[f"{name}-bad"]["FailureReason"] == "AlgorithmError: InvalidInput: too few images, exit code: 2"


def test_exception_of_the_program_is_the_reason(laboratory: Laboratory) -> None:
    found = laboratory.train(laboratory.job(mode="raise"))
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Failed", "Failed")
    reason = found["FailureReason"]
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage ")
    assert "ValueError: the images are all equal" in reason
    assert "/opt/ml/code/train.py --mode raise" in reason
    assert reason.endswith("exit code: 1")


def _channel(uri: str, kind: str = "S3Prefix") -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri}
    return {"InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_channel(f"s3://{BUCKET}/nothing/"), f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing/"'),
        (_channel("s3://no-such-bucket/data"), "The bucket no-such-bucket does not exist"),
        (_channel(f"s3://{BUCKET}/data/anomaly/c.txt", "ManifestFile"), "is not a manifest"),
        ({"Environment": {}}, "there is no entry point"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket/jobs"}}, "cannot be written"),
    ],
)
def test_what_is_missing_is_the_reason(laboratory: Laboratory, change: dict[str, Any], reason: str) -> None:
    found = laboratory.train({**laboratory.job(), **change})
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: ")
    assert reason in found["FailureReason"]


def test_manifest_names_the_objects_of_a_channel(laboratory: Laboratory) -> None:
    manifest = json.dumps([{"prefix": f"s3://{BUCKET}/data/"}, "normal/a b.txt"])
    request = {**laboratory.job(), **_channel(laboratory.put("manifest.json", manifest.encode()), "ManifestFile")}
    found = laboratory.train(request)
    written = unpacked(laboratory.get(found["ModelArtifacts"]["S3ModelArtifacts"]))
    assert json.loads(written["model.json"])["seen"] == {"normal/a b.txt": "good"}


def test_stopped_job_keeps_what_it_saved(laboratory: Laboratory) -> None:
    request = laboratory.job(mode="sleep")
    name = request["TrainingJobName"]
    laboratory.sagemaker.create_training_job(**request)
    eventually(lambda: _says(laboratory, name, "asleep"), "training")
    laboratory.sagemaker.stop_training_job(TrainingJobName=name)
    found = laboratory.trained(name)
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert unpacked(laboratory.get(found["ModelArtifacts"]["S3ModelArtifacts"])) == {"checkpoint": "half"}
    with pytest.raises(ClientError, match="is in status Stopped"):
        laboratory.sagemaker.stop_training_job(TrainingJobName=name)


def test_job_that_runs_too_long_is_stopped(laboratory: Laboratory) -> None:
    found = laboratory.train({**laboratory.job(mode="sleep"), "StoppingCondition": {"MaxRuntimeInSeconds": 1}})
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def _says(laboratory: Laboratory, job: str, text: str) -> bool:
    try:
        return text in laboratory.log("TrainingJobs", job)
    except ClientError:
        return False


def test_names_are_unique_and_known(laboratory: Laboratory, trained: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="must be unique") as refusal:
        laboratory.sagemaker.create_training_job(**{**laboratory.job(), "TrainingJobName": trained["TrainingJobName"]})
    assert refusal.value.response["Error"]["Code"] == "ResourceInUse"
    with pytest.raises(ClientError, match=r"Requested resource not found\."):
        laboratory.sagemaker.describe_training_job(TrainingJobName="absent")
