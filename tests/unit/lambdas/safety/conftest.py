"""The safety line's functions on moto's services; the detector answers what a test scripts."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import boto3
import numpy as np
import pytest
from PIL import Image

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.detection.detectors.detector import Detection, DetectionReply
from defectory.detection.safety.alerts import SafetyMails
from defectory.detection.safety.camera_rules import MonitoredCameras, parse_cameras
from defectory.detection.safety.frames import PARTITION, SORT, FrameTable
from defectory.detection.safety.inspecting import SafetyInspector
from defectory.detection.safety.recording import SafetyRecorder
from defectory.detection.safety.results_table import INDEXES, DetectionsTable
from defectory.detection.safety.rules_file import RulesFile
from defectory.line.alerts import Notifier, Pages
from defectory.line.buckets import ResultsBucket, read_upload
from defectory.line.uploads import Upload
from tests.unit.lambdas.conftest import FakeAlerts

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
START = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)

RULES = {
    "cameras": [
        {
            "camera": "dock 1",
            "prefix": "dock-1/",
            "zones": {"A": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]},
            "rules": [
                {"name": "hard hats", "label": "person", "required": ["hard_hat"], "zone": "A", "min_frames": 3},
                {"name": "dry floor", "label": "spill"},
            ],
        }
    ]
}

PERSON = Detection(label="person", score=0.9, box=(10, 10, 20, 50))
HAT = Detection(label="hard_hat", score=0.8, box=(14, 8, 12, 10))
SPILL = Detection(label="spill", score=0.7, box=(60, 50, 20, 8))


def upload_of(second: int, key: str = "", attempt: int = 1, camera: str = "dock-1") -> Upload:
    """The image that the camera uploaded ``second`` seconds after the start."""
    moment = (START + timedelta(seconds=second)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    key = key or f"{camera}/{second:05}.jpg"
    return Upload(bucket="uploads", key=key, version_id="v", size=10, uploaded_at=moment, attempt=attempt)


@dataclass
class ScriptedDetector:
    """Finds what a test says."""

    detections: tuple[Detection, ...] = ()
    classes: tuple[str, ...] = ("person", "hard_hat", "spill")
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def detect(self, content: bytes, name: str) -> DetectionReply:
        self.asked.append(name)
        if self.error:
            raise self.error
        width, height = Image.open(io.BytesIO(content)).size
        return DetectionReply(
            width=width,
            height=height,
            detections=self.detections,
            model_version="3f9a1c2b",
            classes=self.classes,
        )


@pytest.fixture
def detector():
    return ScriptedDetector()


@pytest.fixture
def s3(aws, s3_client):
    for bucket in ("uploads", "results", "models"):
        s3_client.create_bucket(Bucket=bucket)
    return s3_client


@pytest.fixture(scope="session")
def s3_client():
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def file(s3):
    return RulesFile("models", s3)


@pytest.fixture
def rules(file) -> MonitoredCameras:
    """The rules, in force."""
    cameras = parse_cameras(RULES)
    file.write(cameras)
    return cameras


@pytest.fixture
def inspector(s3, file, detector):
    return SafetyInspector(
        detector=detector,
        rules=file,
        results=ResultsBucket("results", s3),
        read=lambda upload: read_upload(upload.model_copy(update={"version_id": ""}), s3),
        retention=timedelta(days=30),
        blurred="person",
    )


@pytest.fixture
def frames(aws, dynamodb_client):
    dynamodb_client.create_table(
        TableName="frames",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in (PARTITION, SORT)],
        KeySchema=[
            {"AttributeName": PARTITION, "KeyType": "HASH"},
            {"AttributeName": SORT, "KeyType": "RANGE"},
        ],
    )
    return FrameTable("frames", dynamodb_client)


@pytest.fixture
def results(aws, dynamodb_client):
    names = {"inspection_id", *(name for keys in INDEXES.values() for name in keys)}
    dynamodb_client.create_table(
        TableName="results",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[{"AttributeName": "inspection_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=True)
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, keys in INDEXES.items()
        ],
    )
    return DetectionsTable("results", dynamodb_client)


@pytest.fixture
def recorder(results, frames, file):
    return SafetyRecorder(results, timedelta(days=30), DeploymentMetrics("plant"), frames, file)


@pytest.fixture
def topics():
    return {"alert": FakeAlerts(), "review": FakeAlerts()}


@pytest.fixture
def notifier(results, topics):
    return Notifier(results, topics, SafetyMails(Pages("us-east-1", "results")), limit=3)


@pytest.fixture
def photo():
    """An image of noise, in which what is blurred shows."""
    pixels = np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
