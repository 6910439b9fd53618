"""The client side of the inspection line in the local cloud: a camera, an inspector and the line's operator."""

import io
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from boto3.dynamodb.types import TypeDeserializer
from PIL import Image

from defectory.inspection.hosting import write_hosted
from defectory.inspection.training import TrainingOptions, train
from defectory.local.cloud import LocalCloud
from defectory.local.synth import find_app
from tests.local_cloud.laboratory import IMAGE, SERVERLESS, Laboratory
from tests.local_cloud.roles import ROLE

SIDE = 128
SCRATCH = (slice(60, 68), slice(40, 64))


def part(seed: int, *, scratched: bool = False) -> bytes:
    """A photo of a ribbed plate, lit and laid a little differently each time."""
    rng = np.random.default_rng(seed)
    ribs = np.sin((np.arange(SIDE) + rng.uniform(0, 25)) / 4)[:, None, None]
    plate = rng.uniform(0.85, 1.15) * (120 + 30 * ribs) + rng.normal(0, 6, (SIDE, SIDE, 3))
    if scratched:
        plate[SCRATCH] += 60
    content = io.BytesIO()
    Image.fromarray(plate.clip(0, 255).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


@dataclass(frozen=True)
class Line:
    """The client side of the line."""

    cloud: LocalCloud
    outputs: dict[str, str]

    def upload(self, key: str, content: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=self.outputs["UploadBucketName"], Key=key, Body=content)

    def all_rows(self) -> list[dict[str, Any]]:
        """Every row, also where two are of one key."""
        pages = self.cloud.client("dynamodb").get_paginator("scan")
        plain = [
            {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
            for page in pages.paginate(TableName=self.outputs["ResultsTableName"], ConsistentRead=True)
            for item in page["Items"]
        ]
        return [row for row in plain if "key" in row]

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["key"]: row for row in self.all_rows()}

    def row(self, key: str, seconds: float = 90) -> dict[str, Any]:
        """The row of an upload, once people were told of it where they have to be."""
        end = time.monotonic() + seconds
        while not (row := self.rows().get(key)) or (row.get("owed") and row["outcome"] != "UNSUPPORTED"):
            assert time.monotonic() < end, f"no row of {key}, or nobody was told: {row}"
            time.sleep(0.1)
        return row

    def result(self, key: str) -> bytes:
        return self.cloud.client("s3").get_object(Bucket=self.outputs["ResultsBucketName"], Key=key)["Body"].read()

    def upload_model(self, folder: Path) -> str:
        """Train on good parts, and put what a training job hands over into the bucket; return its address."""
        photos = []
        for seed in range(12):
            photos.append(folder / f"{seed}.png")
            photos[-1].write_bytes(part(seed))
        source = folder / "source"
        source.mkdir()
        for name in ("defectory", "models/inspection/inference.py"):
            (source / Path(name).name).symlink_to(find_app() / name)
        write_hosted(train(photos, options=TrainingOptions(resolution=SIDE)).files(), source, folder / "hosted")
        archive = folder / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(folder / "hosted", ".")
        bucket = self.outputs["TrainingBucketName"]
        self.cloud.client("s3").upload_file(str(archive), bucket, "models/by-hand/model.tar.gz")
        return f"s3://{bucket}/models/by-hand/model.tar.gz"

    def deploy(self, folder: Path) -> None:
        """Train on good parts and host the model at the line's endpoint."""
        sagemaker = self.cloud.client("sagemaker")
        container = {
            "Image": IMAGE,
            "ModelDataUrl": self.upload_model(folder),
            "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
        }
        # Called as the training machine calls what it makes: it may look at these alone.
        endpoint = self.outputs["EndpointName"]
        name = f"{endpoint}-by-hand"
        sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {"VariantName": "AllTraffic", "ModelName": name, **SERVERLESS}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        found = Laboratory(self.cloud).settled(self.outputs["EndpointName"])
        assert found["EndpointStatus"] == "InService", found

    def mails(self, key: str) -> list[Any]:
        return [mail for mail in self.cloud.mails() if key in mail.body]

    def call(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """The answer of a function, which has to be one."""
        reply = self.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        answer: dict[str, Any] = json.load(reply["Payload"])
        assert "FunctionError" not in reply, answer
        return answer
