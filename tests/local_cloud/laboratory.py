"""The client side of SageMaker in a local cloud, with the entry points of these tests."""

import io
import json
import tarfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.client import BaseClient

from defectory.local.cloud import LocalCloud
from tests.local_cloud.roles import ROLE
from tests.local_cloud.sample_app import SAMPLE, eventually

ENTRY = SAMPLE / "entry"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
BUCKET = "laboratory"
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
REAL_TIME = {"InstanceType": "ml.c5.large", "InitialInstanceCount": 1}


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def packed(**files: str) -> bytes:
    """A .tar.gz of files, with their names in place of the arguments' ``name_suffix``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(".".join(name.rsplit("_", 1)))
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def unpacked(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {
            member.name: opened.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in opened
            if member.isfile()
        }


@dataclass
class Laboratory:
    """What makes models and endpoints of the sample's entry points."""

    cloud: LocalCloud
    sagemaker: BaseClient = field(init=False)
    runtime: BaseClient = field(init=False)
    s3: BaseClient = field(init=False)

    def __post_init__(self) -> None:
        self.sagemaker = self.cloud.client("sagemaker")
        self.runtime = self.cloud.client("sagemaker-runtime")
        self.s3 = self.cloud.client("s3")

    def furnish(self) -> None:
        """Put the code and some data into a bucket."""
        self.s3.create_bucket(Bucket=BUCKET)
        code = packed(**{f"{name}_py": (ENTRY / f"{name}.py").read_text() for name in ("inference", "train", "serve")})
        self.put("code/source.tar.gz", code)
        self.put("data/normal/a b.txt", b"good")
        self.put("data/anomaly/c.txt", b"bad")

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    @property
    def code(self) -> dict[str, str]:
        return {"SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{BUCKET}/code/source.tar.gz", "SAGEMAKER_PROGRAM": "inference.py"}

    def container(self, greeting: str = "hello", **environment: str) -> dict[str, Any]:
        """A container with a model that says ``greeting``, or cannot be loaded if that is "broken"."""
        model = {"greeting": greeting, "broken": greeting == "broken"}
        data = self.put(f"models/{greeting}.tar.gz", packed(model_json=json.dumps(model)))
        return {"Image": IMAGE, "ModelDataUrl": data, "Environment": {**self.code, **environment}}

    def model(self, container: dict[str, Any]) -> str:
        name = unique("model")
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        return name

    def config(self, container: dict[str, Any], **variant: Any) -> str:
        name = unique("config")
        chosen = {"VariantName": "AllTraffic", "ModelName": self.model(container), **(variant or SERVERLESS)}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[chosen])
        return name

    def endpoint(self, container: dict[str, Any], **variant: Any) -> str:
        """An endpoint that serves."""
        name = unique("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=self.config(container, **variant))
        assert (found := self.settled(name))["EndpointStatus"] == "InService", found
        return name

    def settled(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.sagemaker.describe_endpoint(EndpointName=name)
            return None if found["EndpointStatus"] in ("Creating", "Updating") else found

        return eventually(look, f"end of the change of {name}")

    def ask(self, endpoint: str, body: bytes = b"question", **options: Any) -> dict[str, Any]:
        """What the endpoint's model answers."""
        options = {"ContentType": "application/octet-stream", **options}
        return json.load(self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **options)["Body"])

    def job(self, **hyperparameters: Any) -> dict[str, Any]:
        """The parameters of a training job of the sample's."""
        return {
            "TrainingJobName": unique("job"),
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": {name: json.dumps(value) for name, value in hyperparameters.items()},
            "Environment": {**self.code, "SAGEMAKER_PROGRAM": "train.py", "LANGUAGE": "en"},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data/"}},
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs"},
            "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """The job at its end."""
        self.sagemaker.create_training_job(**request)
        return self.trained(request["TrainingJobName"])

    def trained(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.sagemaker.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return eventually(look, f"end of {name}")

    def transform(self, **request: Any) -> dict[str, Any]:
        """A transform job at its end."""
        self.sagemaker.create_transform_job(**request)
        return self.transformed(request["TransformJobName"])

    def transformed(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.sagemaker.describe_transform_job(TransformJobName=name)
            return found if found["TransformJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return eventually(look, f"end of {name}")

    def log(self, group: str, prefix: str = "") -> str:
        logs = self.cloud.client("logs")
        wanted = {"logStreamNamePrefix": prefix} if prefix else {}
        streams = logs.describe_log_streams(logGroupName=f"/aws/sagemaker/{group}", **wanted)
        return "\n".join(
            event["message"]
            for stream in streams["logStreams"]
            for event in logs.get_log_events(
                logGroupName=f"/aws/sagemaker/{group}", logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        )


def ended(pid: int) -> bool:
    """Whether a process is there no more."""
    return not Path(f"/proc/{pid}").exists()
