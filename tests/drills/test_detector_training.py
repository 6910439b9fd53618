"""A detector from scenes in a bucket into service, and another past the gate beside it, in a local cloud."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from defectory.detection.training_run import DETECTOR
from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.local_cloud.laboratory import unpacked
from tests.local_cloud.roles import create_role
from tests.support.permissions import keep_or_compare
from tests.support.shape_scenes import write_scenes

LABELS = ("safety_cone", "trash_can")
OPTIONS = {"side": 128, "scales": [1], "most_images": 6}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCloud, dict[str, str]]]:
    """Detection, whose detectors the safety line's function serves, with scenes and a test set."""
    folder = tmp_path_factory.mktemp("training")
    with LocalCloud() as cloud:
        create_role(cloud)
        stacks = cloud.deploy(synthesise(folder / "cdk.out", context={"inspection_endpoint": "lambda"}))
        outputs = stacks["defectory-detection"]
        s3 = cloud.client("s3")
        for bucket, prefix, split in (("ScenesBucketName", "yard", "train"), ("DetectorBucketName", "test", "test")):
            scenes = write_scenes(folder / prefix, 8 if split == "train" else 3, split, size=128, labels=LABELS)
            for file in filter(Path.is_file, scenes.rglob("*")):
                key = f"{prefix}/{file.relative_to(scenes).as_posix()}"
                s3.put_object(Bucket=outputs[bucket], Key=key, Body=file.read_bytes())
        yield cloud, outputs
        keep_or_compare(cloud)


def names_in(archive: bytes) -> set[str]:
    """The files of a .tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return set(opened.getnames())


def run(deployed: tuple[LocalCloud, dict[str, str]], **request: Any) -> dict[str, Any]:
    """The output of an execution of the machine that trains."""
    cloud, outputs = deployed
    machines = cloud.client("stepfunctions")
    execution = machines.start_execution(
        stateMachineArn=outputs["DetectorTrainingMachineArn"],
        input=json.dumps({"dataset": "yard/", "options": OPTIONS, **request}),
    )["executionArn"]

    while (found := machines.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.5)
    assert found["status"] == "SUCCEEDED", (found.get("error"), found.get("cause"))
    return json.loads(found["output"])


def test_a_detector_comes_into_service_and_one_below_the_gate_does_not(
    deployed: tuple[LocalCloud, dict[str, str]],
) -> None:
    cloud, outputs = deployed
    s3 = cloud.client("s3")

    def read(key: str) -> bytes:
        return s3.get_object(Bucket=outputs["DetectorBucketName"], Key=key)["Body"].read()

    first = run(deployed, gate={"minimum_map50": 0})
    assert first["status"] == "IN_SERVICE", first
    record = json.loads(read("approved/current.json"))
    assert (record["run"], record["model_version"]) == (first["run"], first["outcome"]["model_version"])
    assert "mAP@50" in first["outcome"]["reasons"][0]
    pages = names_in(read(f"models/{first['run']}-evaluate/output/output.tar.gz"))
    assert {"candidate/report.html", "candidate/evaluation.json"} <= pages

    second = run(deployed, gate={"minimum_map50": 1}, options={**OPTIONS, "seed": 1})
    assert second["status"] == "REJECTED", second
    assert "is below the minimum of 1.0000" in " ".join(second["outcome"]["reasons"])
    assert json.loads(read("approved/current.json")) == record
    evaluation = unpacked(read(f"models/{second['run']}-evaluate/output/model.tar.gz"))["evaluation.json"]
    assert json.loads(evaluation)["current"]["model_version"] == record["model_version"]
    assert not DETECTOR.decide(evaluation.encode(), {"minimum_map50": 1}).accepted
