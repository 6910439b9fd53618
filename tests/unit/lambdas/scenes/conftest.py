"""The functions of scenes on moto's S3, with the real compositor on small canvases."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

from defectory.aws.bucket import Bucket
from defectory.detection.batch import plan as plans
from defectory.detection.batch.makers import SceneMakers
from defectory.detection.batch.plan import PaintingModels, ScenePlanner
from defectory.detection.batch.render import ShardRenderer
from defectory.detection.batch.runs import SceneDataset
from lambdas.assemble_scenes import handler as assembling
from lambdas.plan_scenes import handler as planning
from lambdas.render_scenes import handler as rendering

NAME = "scenes"
CLASSES = ["person", "hard_hat", "safety_vest"]
WISH = {"user_id": "ann", "dataset": "site", "preset": "ppe", "count": 5, "size": 96, "seed": 3}


@dataclass
class Site:
    """The bucket as users see it, and the functions on it."""

    s3: Any
    bucket: Bucket
    folder: Path
    context: Any
    monkeypatch: pytest.MonkeyPatch
    models: PaintingModels
    image_model: Any
    dataset: SceneDataset

    def upload(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=NAME, Key=key, Body=content)

    def lines(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.bucket.lines(key)]

    def image(self, key: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.bucket.read(key))))

    def plan(self, execution: str = "run-1", **request: Any) -> dict[str, Any]:
        planner = ScenePlanner(self.bucket, self.models)
        asked = {name: value for name, value in {**WISH, **request}.items() if value is not None}
        event = {"request": asked, "execution": execution}
        return self._call(planning, "planner", planner, event)

    def render(self, planned: dict[str, Any], *numbers: int, **renderer: Any) -> dict[str, Any]:
        """What child executions do: for the shards with these numbers, all without one."""
        items = self.lines(planned["manifest"])
        chosen = [items[number] for number in numbers] or items
        service = ShardRenderer(self.bucket, SceneMakers(self.bucket, self.folder, self.image_model), **renderer)
        event = {"Items": chosen, "BatchInput": {"run": planned["run"]}}
        return self._call(rendering, "renderer", service, event)["outcomes"]

    def ask(self, planned: dict[str, Any]) -> int:
        return self._call(rendering, "bucket", self.bucket, {"run": planned["run"]})["requests"]

    def assemble(self, planned: dict[str, Any], *, stopped: bool = False) -> dict[str, Any]:
        return self._call(assembling, "bucket", self.bucket, {"run": planned["run"], "stopped": stopped})

    def run(self, **request: Any) -> dict[str, Any]:
        """What the state machine does where nothing fails."""
        planned = self.plan(**request)
        self.render(planned)
        return self.assemble(planned)

    def fail(self, planned: dict[str, Any], number: int, error: str, cause: str) -> None:
        """What Step Functions writes of a call for a shard that failed to the last."""
        inputs = {"Items": [self.lines(planned["manifest"])[number]], "BatchInput": {"run": planned["run"]}}
        execution = {"Status": "FAILED", "Input": json.dumps(inputs), "Error": error, "Cause": cause}
        file = f"{planned['results']}/map-run/FAILED_0.json"
        manifest = {"ResultFiles": {"FAILED": [{"Key": file, "Size": 1}], "PENDING": [], "SUCCEEDED": []}}
        self.upload(file, (json.dumps(execution) + "\n").encode())
        self.upload(f"{planned['results']}/map-run/manifest.json", json.dumps(manifest).encode())

    def download(self, folder: Path) -> Path:
        for key in self.bucket.keys(self.dataset.prefix):
            file = folder / key.removeprefix(self.dataset.prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.bucket.read(key))
        return folder

    def _call(self, module: ModuleType, name: str, service: object, event: object) -> Any:
        self.monkeypatch.setattr(module, name, lambda: service)
        return json.loads(json.dumps(module.handler(event, self.context)))


@pytest.fixture(scope="session")
def scenes_client():
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def site(aws, scenes_client, context, monkeypatch, tmp_path_factory) -> Site:
    """An installation whose shards have two layouts each."""
    monkeypatch.setattr(plans, "SHARD_LAYOUTS", {"compositor": 2, "bedrock": 1, "gligen": 2})
    scenes_client.create_bucket(Bucket=NAME)
    context.get_remaining_time_in_millis = lambda: 900_000
    return Site(
        scenes_client,
        Bucket(NAME, scenes_client),
        tmp_path_factory.mktemp("copies"),
        context,
        monkeypatch,
        PaintingModels(scene_model="painter"),
        None,
        SceneDataset(user_id="ann", dataset="site"),
    )
