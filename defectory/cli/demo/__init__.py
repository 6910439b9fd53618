"""``defectory demo``: the whole way on this machine, as a user of the deployed application would go it.

Starts a local cloud, deploys the application's own templates into it, and uses what they make: sensor data first, then
an inspection line, then pictures of defects.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from defectory.errors import require_extra

COMMAND = "defectory demo"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for what it makes; an earlier demo's is replaced.")] = Path(
        "demo-output"
    ),
    number: Annotated[int, typer.Option(help="How many machines, 1 to 50.")] = 10,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Photos of your own, in normal/ and anomaly/, in place of rendered ones.", file_okay=False, exists=True
        ),
    ] = None,
) -> None:
    """Deploy the application into a local cloud; make sensor data in it, run an inspection line, make defect images.

    Needs no AWS account and no Docker, and leaves nothing running.

    Examples:

        defectory demo --number 3 --out demo-output

        defectory demo --photos my-parts
    """
    require_extra("local")

    from rich.console import Console
    from rich.text import Text

    from defectory.claims import check_claim, claim_empty
    from defectory.cli.demo.defect_images import show_defect_images
    from defectory.cli.demo.inspection import choose_photos, show_inspection
    from defectory.cli.demo.sensor_data import show_sensor_data
    from defectory.cli.demo.steps import step
    from defectory.local.cloud import LocalCloud
    from defectory.local.synth import find_app, synthesise

    app = find_app()
    console = Console()
    started = time.monotonic()
    folders = [out / name for name in ("sensor-data", "inspection", "defect-images")]
    for folder in folders:
        check_claim(folder, COMMAND)
    sensor_data, inspection, images = (claim_empty(folder, COMMAND) for folder in folders)
    chosen = choose_photos(console, photos, inspection)
    with tempfile.TemporaryDirectory(prefix="defectory-demo-") as scratch:
        with step(console, "Synthesising the application's templates"):
            assembly = synthesise(Path(scratch) / "cdk.out", app=app)
        with LocalCloud() as cloud:
            with step(console, f"Deploying them into a local cloud at {cloud.endpoint}"):
                stacks = {name.rpartition("defectory-")[2]: found for name, found in cloud.deploy(assembly).items()}
            good = show_sensor_data(console, cloud, stacks["sensor-data"], sensor_data, number)
            good &= show_inspection(console, cloud, stacks["inspection"], chosen, inspection)
            good &= show_defect_images(console, cloud, stacks["image-synthesis"], chosen.training, images)
            mails = list(cloud.mails())
    for mail in mails:
        console.print(Text(f"Mailed: {mail.subject}"))
    console.print(Text(f"Took {time.monotonic() - started:.0f} s."))
    if not good:
        raise typer.Exit(1)
