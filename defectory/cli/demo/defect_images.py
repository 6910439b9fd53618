"""The demo's third part: pictures of defects, made from the photos of good parts that the line learned from.

Uploads photos, starts the synthesis machine, waits for it, and downloads the dataset that it assembled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defectory.errors import DefectoryError

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.local.cloud import LocalCloud

USER, DATASET = "demo", "defects"
DEFECTS = ("scratch", "crack", "dent", "stain", "oil", "contamination")
PHOTOS, PICTURES_OF_EACH = 4, 2
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 600


def make_defect_images(
    cloud: LocalCloud, outputs: Mapping[str, str], good: Sequence[Path], target: Path
) -> dict[str, Any]:
    """Have pictures of some kinds made from ``good``; the dataset goes to ``target``.  Its status.

    Raises:
        DefectoryError: it did not come to that.
    """
    bucket, storage = outputs["ImagesBucketName"], cloud.client("s3")
    for path in good[:PHOTOS]:
        storage.upload_file(str(path), bucket, f"{USER}/photos/{path.name}")
    wants = [{"renderer": "procedural", "defect": defect, "count": PICTURES_OF_EACH} for defect in DEFECTS]
    event = {"user_id": USER, "dataset": DATASET, "source": f"{USER}/photos/", "plan": {"wants": wants}}
    outcome = _execute(cloud, outputs["SynthesisMachineArn"], event)
    prefix = f"{USER}/{DATASET}/"
    pages = storage.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for item in (item for page in pages for item in page.get("Contents", [])):
        path = target / item["Key"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download_file(bucket, item["Key"], str(path))
    if outcome["status"] != "SUCCEEDED":
        raise DefectoryError(f"Synthesis ended as {outcome['status']}: {outcome.get('error')}: {outcome.get('cause')}")
    status: dict[str, Any] = json.loads((target / "status.json").read_text())
    return status


def show_defect_images(console: Console, status: Mapping[str, Any], target: Path) -> bool:
    """Say what was made of the pictures, and where it lies; whether any were made."""
    console.print(
        f"{status['pictures']} of {status['planned']} made. Look at {target / 'contact-sheet.html'}.",
        markup=False,
        highlight=False,
    )
    return bool(status["pictures"])


def _execute(cloud: LocalCloud, machine: str, event: Mapping[str, object]) -> dict[str, str]:
    client = cloud.client("stepfunctions")
    execution = client.start_execution(stateMachineArn=machine, input=json.dumps(event))["executionArn"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (outcome := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            raise DefectoryError(f"Synthesis has not ended within {PATIENCE_SECONDS} s.")
        time.sleep(POLL_SECONDS)
    return dict(outcome)
