"""``defectory demo``: the whole way on this machine, as a user of the deployed application would go it.

Starts a local cloud, deploys the application's own templates into it, and uses what they make: sensor data first, then
an inspection line, then pictures of defects.  Beside them it composes scenes and trains a detector on them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import out_folder
from defectory.errors import require_extra

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.cli.demo.inspection import Photos
    from defectory.local.cloud import LocalCloud
    from defectory.local.outbox import Mail

COMMAND = "defectory demo"


def demo(
    out: Annotated[Path, out_folder("Folder for what it makes; an earlier demo's is replaced.")] = Path("demo-output"),
    number: Annotated[int, typer.Option(help="How many machines, 1 to 50.")] = 10,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Photos of your own, in normal/ and anomaly/, in place of rendered ones.", file_okay=False, exists=True
        ),
    ] = None,
) -> None:
    """Deploy the application into a local cloud; make sensor data in it, run an inspection line, make defect images.

    Beside it, compose scenes from cut-outs and train a detector of people, hard hats and vests on them.

    Needs no AWS account and no Docker, and leaves nothing running.

    Examples:

        defectory demo --number 3 --out demo-output

        defectory demo --photos my-parts
    """
    require_extra("local")

    from rich.console import Console
    from rich.text import Text

    from defectory.claims import check_claim, claim_empty
    from defectory.cli.demo.sensor_data import INDUSTRY, USER
    from defectory.local.synth import find_app
    from defectory.sensors.service.requests import parse_event

    parse_event({"industry": INDUSTRY, "number": number, "user_id": USER})
    app = find_app()
    console = Console()
    started = time.monotonic()
    folders = [out / name for name in ("sensor-data", "inspection", "defect-images", "detection")]
    for folder in folders:
        check_claim(folder, COMMAND)
    targets = Targets(*(claim_empty(folder, COMMAND) for folder in folders))
    all_well, mails = _run(console, app, targets, photos, number)
    for mail in mails:
        console.print(Text(f"Mailed: {mail.subject}"))
    console.print(Text(f"Took {time.monotonic() - started:.0f} s."))
    if not all_well:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Targets:
    """Folders for what each part of the demo makes."""

    sensor_data: Path
    inspection: Path
    defect_images: Path
    detection: Path


def _run(console: Console, app: Path, targets: Targets, photos: Path | None, number: int) -> tuple[bool, list[Mail]]:
    """All parts, those beside each other that need not wait for one another; whether all went well, and the e-mails."""
    from defectory.cli.demo.inspection import choose_photos, render_photos
    from defectory.cli.output import step
    from defectory.local.cloud import LocalCloud
    from defectory.local.synth import Synthesis
    from defectory.unwinding import temporary_folder

    # Photos that are too few are refused before anything is started.
    photo_set = choose_photos(photos) if photos else None
    started = time.monotonic()
    # The synthesis is a process of its own, at work while this one renders and the cloud starts.
    with (
        temporary_folder("defectory-demo-") as scratch,
        Synthesis(scratch / "cdk.out", app=app) as synthesis,
    ):
        photo_set = photo_set or render_photos(console, targets.inspection)
        with LocalCloud() as cloud:
            with step(console, "Synthesising the application's templates", since=started):
                assembly = synthesis.result()
            with step(console, f"Deploying them into a local cloud at {cloud.endpoint}"):
                deployed = cloud.deploy(assembly)
            stacks = {name.rpartition("defectory-")[2]: outputs for name, outputs in deployed.items()}
            return _use(console, cloud, stacks, targets, photo_set, number), list(cloud.mails())


def _use(
    console: Console,
    cloud: LocalCloud,
    stacks: Mapping[str, Mapping[str, str]],
    targets: Targets,
    photos: Photos,
    number: int,
) -> bool:
    """Use what was deployed, as its users would; whether all went well."""
    from defectory.cli.demo.defect_images import (
        DEFECTS,
        PHOTOS,
        PICTURES_OF_EACH,
        make_defect_images,
        show_defect_images,
    )
    from defectory.cli.demo.detection import detect_objects, show_detection
    from defectory.cli.demo.inspection import show_inspection, start_training, try_line
    from defectory.cli.demo.sensor_data import request_sensor_data, show_sensor_data
    from defectory.cli.output import awaited_step, timed

    request = request_sensor_data(console, cloud, stacks["sensor-data"], number)
    training = start_training(console, cloud, stacks["inspection"], photos)
    lines, paints = stacks["inspection"], stacks["image-synthesis"]
    # While the pipeline's actions wait for one another, there is time to learn and to paint.
    with ThreadPoolExecutor(3) as beside:
        try:
            trying = beside.submit(timed, try_line, cloud, lines, training, photos, targets.inspection)
            making = beside.submit(timed, make_defect_images, cloud, paints, photos.training, targets.defect_images)
            detecting = beside.submit(timed, detect_objects, targets.detection)
            all_well = show_sensor_data(console, cloud, stacks["sensor-data"], request, targets.sensor_data)
            parts = f"{len(photos.good)} good and {len(photos.defective)} defective parts"
            line = awaited_step(console, f"Meanwhile, a model learns and inspects {parts}", trying)
            all_well &= show_inspection(console, line, photos, targets.inspection)
            pictures = f"{PICTURES_OF_EACH * len(DEFECTS)} pictures of defects from {PHOTOS} good parts"
            status = awaited_step(console, f"Meanwhile, {pictures}", making)
            all_well &= show_defect_images(console, status, targets.defect_images)
            detected = awaited_step(console, "Meanwhile, a detector of people, hard hats and vests", detecting)
            all_well &= show_detection(console, detected)
        except BaseException:
            # What waits beside this fails at once then, in place of waiting for its turn to end.
            cloud.stop()
            raise
    return all_well
