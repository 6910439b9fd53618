"""The functions of image synthesis on moto's S3, with real renderers on small photos."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

from defectory.aws.bucket import Bucket
from defectory.images.batch.models import ImageModels
from defectory.images.batch.plan import Planner
from defectory.images.batch.synthesize import Synthesizer
from lambdas.assemble_dataset import handler as assembling
from lambdas.plan_synthesis import handler as planning
from lambdas.synthesize_images import handler as synthesizing
from tests.support.image_server import INPAINT, SD35

NAME = "images"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SIDE = 96


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def plate(seed: int, *, spot: bool = False) -> np.ndarray:
    """A photo of a brushed plate on a dark table; with a dark spot where `spot_mask` says."""
    rng = np.random.default_rng(seed)
    pixels = np.full((SIDE, SIDE, 3), 25.0) + rng.normal(0, 1.5, (SIDE, SIDE, 3))
    pixels[10:86, 10:86] = 150 + 8 * np.sin(np.arange(10, 86) / 3)[:, None, None] + rng.normal(0, 3, (76, 76, 3))
    if spot:
        pixels[spot_mask() > 0] *= 0.4
    return pixels.clip(0, 255).astype(np.uint8)


def spot_mask(radius: int = 8) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.where((rows - 40) ** 2 + (columns - 50) ** 2 < radius**2, 255, 0).astype(np.uint8)


@dataclass
class Factory:
    """The bucket as users see it, and the functions on it."""

    s3: Any
    bucket: Bucket
    models: ImageModels
    context: Any
    monkeypatch: pytest.MonkeyPatch

    def upload(self, key: str, content: bytes | np.ndarray) -> None:
        body = content if isinstance(content, bytes) else png(content)
        self.s3.put_object(Bucket=NAME, Key=key, Body=body)

    def keys(self, prefix: str = "") -> set[str]:
        return {key.removeprefix(prefix) for key in self.bucket.keys(prefix)}

    def read(self, key: str) -> Any:
        return json.loads(self.bucket.read(key))

    def image(self, key: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.bucket.read(key))))

    def plan(self, execution: str = "run-1", **request: Any) -> dict[str, Any]:
        planner = Planner(self.bucket, self.models, 4)
        return self._call(planning, "planner", planner, {"request": request, "execution": execution})

    def make(self, event: object = None, **fields: Any) -> dict[str, Any]:
        return self._call(
            synthesizing,
            "synthesizer",
            Synthesizer(self.bucket, self.models),
            fields if event is None else event,
        )

    def assemble(self, **event: Any) -> dict[str, Any]:
        return self._call(assembling, "bucket", self.bucket, event)

    def manifest(self, planned: dict[str, Any]) -> list[dict[str, Any]]:
        """The lines of a planned run's manifest."""
        return [json.loads(line) for line in self.bucket.lines(planned["manifest"])]

    def make_planned(self, planned: dict[str, Any], *numbers: int) -> dict[str, Any]:
        """What a child execution does: the pictures with these numbers, all without one."""
        lines = self.manifest(planned)
        chosen = [lines[number] for number in numbers] or lines
        return self.make({"Items": chosen, "BatchInput": {"run": planned["run"]}})

    def fail(self, planned: dict[str, Any], *numbers: int, error: str, cause: str) -> None:
        """What Step Functions writes of a call for these pictures that failed to the last."""
        lines = self.manifest(planned)
        inputs = {"Items": [lines[number] for number in numbers], "BatchInput": {"run": planned["run"]}}
        execution = {"Status": "FAILED", "Input": json.dumps(inputs), "Error": error, "Cause": cause}
        file = f"{planned['results']}/map-run/FAILED_0.json"
        manifest = {"ResultFiles": {"FAILED": [{"Key": file, "Size": 1}], "PENDING": [], "SUCCEEDED": []}}
        self.upload(file, (json.dumps(execution) + "\n").encode())
        self.upload(f"{planned['results']}/map-run/manifest.json", json.dumps(manifest).encode())

    def finish(self, planned: dict[str, Any], *, stopped: bool = False) -> dict[str, Any]:
        return self.assemble(run=planned["run"], stopped=stopped)

    def run(self, **request: Any) -> dict[str, Any]:
        """What the state machine does where nothing fails."""
        planned = self.plan(**request)
        self.make_planned(planned)
        return self.finish(planned)

    def _call(self, module: ModuleType, name: str, service: object, event: object) -> Any:
        self.monkeypatch.setattr(module, name, lambda: service)
        return json.loads(json.dumps(module.handler(event, self.context)))


@pytest.fixture(scope="session")
def images_client():
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def factory(aws, images_client, context, monkeypatch) -> Factory:
    """An installation with three photos of ann's plates."""
    images_client.create_bucket(Bucket=NAME)
    made = Factory(
        images_client,
        Bucket(NAME, images_client),
        ImageModels("us-west-2", SD35, INPAINT),
        context,
        monkeypatch,
    )
    for number in range(3):
        made.upload(f"ann/photos/{number}.png", plate(number))
    return made


@pytest.fixture
def wish() -> dict[str, Any]:
    """Two scratches on ann's plates."""
    return {
        **{"user_id": "ann", "dataset": "plates", "renderer": "procedural", "defect": "scratch"},
        **{"count": 2, "source": "ann/photos/"},
    }
