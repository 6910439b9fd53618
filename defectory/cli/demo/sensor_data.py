"""The demo's first part: a year of sensor data for a semiconductor fab, asked for as a user of the cloud would.

Invokes the trigger function, follows the request in the table while the pipeline's actions work on it, and downloads
what was published.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defectory.cli.output import step
from defectory.errors import DefectoryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from defectory.local.cloud import LocalCloud

INDUSTRY = "semiconductor"
USER = "demo"
POLL_SECONDS = 0.5
ENDED = {"PUBLISHED", "PARTIAL", "FAILED"}


def request_sensor_data(console: Console, cloud: LocalCloud, outputs: Mapping[str, str], number: int) -> str:
    """Ask for the data of ``number`` machines, which is then made; the id of the request."""
    with step(console, f"Asking the trigger function for {number} machines of a {INDUSTRY} fab"):
        return str(_invoke(cloud, outputs["FunctionName"], number)["request_id"])


def show_sensor_data(
    console: Console, cloud: LocalCloud, outputs: Mapping[str, str], request_id: str, target: Path
) -> bool:
    """Follow a request to its end, and download its data to ``target``; whether all machines were published."""
    request = _follow(console, cloud, outputs["TableName"], request_id)
    with step(console, f"Downloading what was published to {target}"):
        _download(cloud, outputs["DataBucketName"], f"{USER}/{request_id}/", target)
    _summarise(console, request, target)
    return bool(request["status"] == "PUBLISHED")


def _invoke(cloud: LocalCloud, function: str, number: int) -> dict[str, Any]:
    event = {"industry": INDUSTRY, "number": number, "user_id": USER}
    reply = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    answer: dict[str, Any] = json.load(reply["Payload"])
    if "FunctionError" in reply or "request_id" not in answer:
        raise DefectoryError(f"The trigger function did not accept the request: {json.dumps(answer)[:1000]}")
    return answer


def _follow(console: Console, cloud: LocalCloud, table: str, request_id: str) -> dict[str, Any]:
    """Show the machines' states as they change, until the request is closed."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from defectory.aws.dynamodb import from_dynamodb

    client = cloud.client("dynamodb")
    key = {"user_id": {"S": USER}, "request_id": {"S": request_id}}
    columns = (
        TextColumn("{task.description:28}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    stages = {"PENDING": 0, "WRITING": 1, "RUNNING": 2, "REPAIRING": 3, "PUBLISHED": 5, "FAILED": 5}
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}
        while True:
            item = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
            request: dict[str, Any] = from_dynamodb(item)
            for machine in request["machines"]:
                if machine["slug"] not in tasks:
                    tasks[machine["slug"]] = bars.add_task(machine["name"], total=5, state="")
                state = machine["status"]
                bars.update(tasks[machine["slug"]], completed=stages[state], state=state.lower())
            if request["status"] in ENDED and "active" not in request:
                return request
            time.sleep(POLL_SECONDS)


def _download(cloud: LocalCloud, bucket: str, prefix: str, target: Path) -> None:
    client = cloud.client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            path = target / entry["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, entry["Key"], str(path))


def _summarise(console: Console, request: dict[str, Any], target: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from defectory.sensors.dataset import LABELS_CSV, MANIFEST, REPORT, read_manifest
    from defectory.sensors.report import INDEX

    table = Table(title=f"Request {request['request_id']}: {request['status']}", title_justify="left")
    for column in ("machine", "status", "signals", "rows", "labels", "checks passed"):
        table.add_column(column, justify="right" if column in {"signals", "rows", "labels"} else "left")
    for machine in request["machines"]:
        folder = target / machine["slug"]
        cells = [""] * 4
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
            labels = len((folder / LABELS_CSV).read_text().splitlines()) - 1
            passed = f"{sum(check.ok for check in manifest.contract)} of {len(manifest.contract)}"
            cells = [str(len(manifest.signals)), f"{manifest.rows:,}", str(labels), passed]
        table.add_row(Text(machine["name"]), machine["status"].lower(), *cells)
    console.print(table)
    if request.get("reason"):
        console.print(Text(f"Reason: {request['reason']}", style="red"))
    if (target / INDEX).is_file():
        console.print(Text(f"Start with {target / INDEX}; each machine's folder there holds its {REPORT}."))
