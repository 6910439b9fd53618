"""The demo's second part: an inspection line, trained on photos of good parts and tried on parts it has not seen.

Uploads a dataset, starts the training machine, waits for the endpoint, uploads good and defective parts as a camera
would, and shows the rows, heatmaps and alerts they end as.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defectory.cli.output import step
from defectory.errors import DefectoryError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.local.cloud import LocalCloud

DATASET, TEST = "datasets/demo/", "test/"
OPTIONS = {"resolution": 384}  # small defects on small photos: look closely
INSPECTED = 3  # of the good and of the defective parts each
LEAST = 10  # good photos: to learn from, to test with, to inspect
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos of parts: what to learn from, what to test with, and what to inspect, apart from one another."""

    training: tuple[Path, ...]
    test_good: tuple[Path, ...]
    test_defective: tuple[Path, ...]
    good: tuple[Path, ...]
    defective: tuple[Path, ...]


def render_photos(console: Console, target: Path) -> Photos:
    """Photos that are rendered in ``target``, parted as those of `choose_photos`."""
    from defectory.inspection.samples import write_samples

    photos = target / "photos"
    with step(console, f"Rendering photos of flanges in {photos}"):
        write_samples(photos, good=36, defective=16, seed=1)
    return choose_photos(photos)


def choose_photos(photos: Path) -> Photos:
    """The photos in ``photos``, parted into what the line learns from, what it is tested with and what it is shown.

    Raises:
        InputError: there are too few.
    """
    from defectory.vision.images import IMAGE_SUFFIXES

    good, defective = (
        sorted(path for path in (photos / name).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        for name in ("normal", "anomaly")
    )
    if len(good) < LEAST or len(defective) < 2:
        got = f"{len(good)} and {len(defective)}"
        raise InputError("photos", f"a folder with {LEAST} photos in normal/ and 2 in anomaly/ at least", got)
    shown, held_out = min(INSPECTED, len(defective) // 2), max(2, len(good) // 4)
    # Every so many: files lie class by class, and all classes are to be shown.
    some_defective = defective[:: max(1, len(defective) // shown)][:shown]
    return Photos(
        training=tuple(good[held_out + INSPECTED :]),
        test_good=tuple(good[INSPECTED : held_out + INSPECTED]),
        test_defective=tuple(path for path in defective if path not in some_defective),
        good=tuple(good[:INSPECTED]),
        defective=tuple(some_defective),
    )


@dataclass(frozen=True, slots=True)
class TriedLine:
    """What a line has learned, and what it said of the parts that were uploaded to it."""

    reasons: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Any]]
    """Rows of the results table by the upload's key."""
    overlays: Mapping[str, Path]
    """Downloaded pictures of the heatmaps by the upload's key."""


def try_line(cloud: LocalCloud, outputs: Mapping[str, str], training: str, photos: Photos, target: Path) -> TriedLine:
    """Wait until the execution ``training`` has put its model into service, and let the line inspect parts.

    Raises:
        DefectoryError: it did not come to that.
    """
    reasons = await_training(cloud, training)
    rows = _inspect(cloud, outputs, photos)
    return TriedLine(reasons, rows, _download_overlays(cloud, outputs["ResultsBucketName"], rows, target))


def show_inspection(console: Console, line: TriedLine, photos: Photos, target: Path) -> bool:
    """Show what the line said; pictures go to ``target``.  Whether every part ended as a row with a verdict."""
    for reason in line.reasons:
        console.print(f"  {reason}", markup=False, highlight=False)
    summarise_parts(console, line.rows)
    sheet = _draw_sheet(photos, line.rows, line.overlays, target / "inspected.png")
    console.print(f"Look at {sheet}: each part beside its heatmap.", markup=False, highlight=False)
    return all(row.get("verdict") for row in line.rows.values())


def train_line(console: Console, cloud: LocalCloud, outputs: Mapping[str, str], photos: Photos) -> None:
    """Let the training machine train a model and put it into service.

    Raises:
        DefectoryError: it did not come to that.
    """
    training = start_training(console, cloud, outputs, photos)
    with step(console, "Training, evaluating, judging and deploying the model"):
        await_training(cloud, training)


def start_training(console: Console, cloud: LocalCloud, outputs: Mapping[str, str], photos: Photos) -> str:
    """Upload the photos and start the training machine; the ARN of its execution."""
    bucket = outputs["TrainingBucketName"]
    with step(console, f"Uploading {len(photos.training)} photos of good parts to learn from, and a test set"):
        _upload(cloud, bucket, f"{DATASET}normal/", photos.training)
        _upload(cloud, bucket, f"{TEST}normal/", photos.test_good)
        _upload(cloud, bucket, f"{TEST}anomaly/", photos.test_defective)
    event = json.dumps({"dataset": DATASET, "options": OPTIONS})
    machine = cloud.client("stepfunctions")
    return str(machine.start_execution(stateMachineArn=outputs["TrainingMachineArn"], input=event)["executionArn"])


def await_training(cloud: LocalCloud, execution: str) -> tuple[str, ...]:
    """Wait until an execution of the training machine has put its model into service; what the gate said of it.

    Raises:
        DefectoryError: it did not come to that.
    """
    machine = cloud.client("stepfunctions")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (outcome := machine.describe_execution(executionArn=execution))["status"] == "RUNNING":
        if time.monotonic() > deadline:
            raise DefectoryError(f"Training has not ended within {PATIENCE_SECONDS} s.")
        time.sleep(POLL_SECONDS)
    if outcome["status"] != "SUCCEEDED":
        raise DefectoryError(f"Training ended as {outcome['status']}: {outcome.get('error')}: {outcome.get('cause')}")
    result = json.loads(outcome["output"])
    reasons = tuple(str(reason) for reason in result["outcome"]["reasons"])
    if result["status"] != "IN_SERVICE":
        raise DefectoryError(f"The gate rejected the model: {' '.join(reasons)}")
    return reasons


def _upload(cloud: LocalCloud, bucket: str, prefix: str, paths: Sequence[Path]) -> None:
    client = cloud.client("s3")
    for path in paths:
        client.upload_file(str(path), bucket, f"{prefix}{path.name}")


def _inspect(cloud: LocalCloud, outputs: Mapping[str, str], photos: Photos) -> dict[str, dict[str, Any]]:
    """Rows by key, once every upload has one."""
    from defectory.aws.dynamodb import from_dynamodb

    for prefix, paths in (("good/", photos.good), ("defective/", photos.defective)):
        _upload(cloud, outputs["UploadBucketName"], prefix, paths)
    uploads = len(photos.good) + len(photos.defective)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        items = cloud.client("dynamodb").scan(TableName=outputs["ResultsTableName"], ConsistentRead=True)["Items"]
        rows: dict[str, dict[str, Any]] = {}
        for item in items:
            row = from_dynamodb(item)
            if "key" in row:
                rows[row["key"]] = row
        if len(rows) >= uploads and not any(row.get("owed") for row in rows.values()):
            return rows
        if time.monotonic() > deadline:
            raise DefectoryError(
                f"The line has not answered within {PATIENCE_SECONDS} s: {len(rows)} of {uploads} rows."
            )
        time.sleep(POLL_SECONDS)


def _download_overlays(
    cloud: LocalCloud, bucket: str, rows: Mapping[str, Mapping[str, Any]], target: Path
) -> dict[str, Path]:
    overlays: dict[str, Path] = {}
    for key, row in rows.items():
        if row.get("overlay_key"):
            path = target / Path(key).with_suffix(f".heatmap{Path(row['overlay_key']).suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            cloud.client("s3").download_file(bucket, row["overlay_key"], str(path))
            overlays[key] = path
    return overlays


def summarise_parts(console: Console, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """A table of the inspected parts, by their keys in the bucket."""
    from rich.table import Table
    from rich.text import Text

    colours = {"PASS": "green", "REVIEW": "yellow", "FAIL": "red"}
    models = sorted({str(row["model_version"]) for row in rows.values() if row.get("model_version")})
    table = Table(title=f"Inspected parts, by model {', '.join(models) or 'none'}", title_justify="left")
    for column in ("part", "verdict", "score", "confidence"):
        table.add_column(column, justify="right" if column in {"score", "confidence"} else "left", overflow="fold")
    for key, row in sorted(rows.items(), reverse=True):
        verdict = str(row.get("verdict") or row["status"])
        table.add_row(
            Text(key),
            Text(verdict, style=colours.get(verdict, "red")),
            f"{float(row.get('score', 0)):.3f}",
            f"{float(row.get('confidence', 0)):.2f}",
        )
    console.print(table)


def _draw_sheet(
    photos: Photos, rows: Mapping[str, Mapping[str, Any]], overlays: Mapping[str, Path], sheet: Path
) -> Path:
    """Write a picture of all inspected parts: photo, heatmap, verdict."""
    from PIL import Image, ImageDraw

    side, line = 256, 22
    parts = [(f"good/{path.name}", path) for path in photos.good]
    parts += [(f"defective/{path.name}", path) for path in photos.defective]
    across = max(len(photos.good), len(photos.defective))
    picture = Image.new("RGB", (across * 2 * side, 2 * (side + line)), "white")
    draw = ImageDraw.Draw(picture)
    for number, (key, path) in enumerate(parts):
        below = number >= len(photos.good)
        x = (number - below * len(photos.good)) * 2 * side
        y = below * (side + line)
        row = rows[key]
        draw.text((x + 6, y + 5), f"{row.get('verdict') or row['status']}   {key}", fill="black")
        for place, file in enumerate((path, overlays.get(key))):
            if file:
                with Image.open(file) as image:
                    image.thumbnail((side, side))
                    picture.paste(image.convert("RGB"), (x + place * side, y + line))
    picture.save(sheet)
    return sheet
