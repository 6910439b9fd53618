"""The inspection line in the local cloud: one image from its upload to its row of results and its alert."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measure import table
from defectory.cli.demo.inspection import render_photos, train_line
from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60


def report(runs: int = 5) -> str:
    """Median and maximum of ``runs`` single uploads to a line that is warm, and the first one, which is not."""
    console = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory() as name, LocalCloud() as cloud:
        outputs = cloud.deploy(synthesise(Path(name) / "cdk.out"))["defectory-inspection"]
        photos = render_photos(console, Path(name))
        started = time.perf_counter()
        train_line(console, cloud, outputs, photos)
        trained = time.perf_counter() - started
        part = photos.defective[0].read_bytes()
        first, *repeats = (_inspected(cloud, outputs, f"part {number}.png", part) for number in range(runs + 1))
    rows = [
        ("train, evaluate, judge and deploy by the training machine", f"{trained:.1f}", ""),
        ("upload to row and alert, first image", f"{first:.2f}", ""),
        (f"upload to row and alert, median of {runs}", f"{statistics.median(repeats):.2f}", "2"),
        (f"upload to row and alert, slowest of {runs}", f"{max(repeats):.2f}", ""),
    ]
    return table(("", "wall s", "reach"), rows)


def _inspected(cloud: LocalCloud, outputs: dict[str, str], key: str, content: bytes) -> float:
    """Seconds from before the upload until both the row and the mail are there."""
    started = time.perf_counter()
    cloud.client("s3").put_object(Bucket=outputs["UploadBucketName"], Key=key, Body=content)
    while not (_row(cloud, outputs["ResultsTableName"], key) and any(key in mail.body for mail in cloud.mails())):
        if time.perf_counter() - started > PATIENCE_SECONDS:
            raise SystemExit(f"inspection_line: no row or no mail of {key} within {PATIENCE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


def _row(cloud: LocalCloud, table_name: str, key: str) -> dict[str, Any] | None:
    rows = cloud.client("dynamodb").scan(TableName=table_name, ConsistentRead=True)["Items"]
    return next((row for row in rows if row.get("key", {}).get("S") == key), None)
