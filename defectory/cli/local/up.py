"""``defectory local up``: run the local cloud with the application in it.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.local.printing import show_deployed, show_environment
from defectory.cli.output import step
from defectory.errors import InputError, LocalCloudError
from defectory.unwinding import temporary_folder
from defectory.writing import try_folder

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.local.cloud import LocalCloud

DEFAULT_PORT = 4566

PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback interface; 0 takes a free one.")]
KeptStateOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to keep everything in: the next 'up' with it finds stacks, functions, queues with their "
        "messages, tables, objects, logs, e-mails and the pipelines' history again, also when this one is killed: "
        "what was answered is kept. A build or execution under way then ends as failed. "
        "Without it nothing is kept.",
        metavar="DIRECTORY",
        callback=lambda folder: None if folder is None else try_folder(folder, field="state"),
    ),
]
ContextOption = Annotated[
    list[str] | None,
    typer.Option("--context", "-c", help="KEY=VALUE: a setting of the application, as for cdk; may be repeated."),
]
RegionOption = Annotated[
    str | None, typer.Option(help="AWS region to pretend to be.", show_default="from AWS_REGION, else us-east-1")
]


def up(
    port: PortOption = DEFAULT_PORT,
    state: KeptStateOption = None,
    deploy: Annotated[
        bool, typer.Option("--deploy/--no-deploy", help="Synthesise the application and deploy it.")
    ] = True,
    context: ContextOption = None,
    region: RegionOption = None,
) -> None:
    """Start the local cloud, deploy the application into it, and serve until Ctrl-C or 'defectory local down'.

    Prints the variables with which the aws command, boto3 and every other AWS client reach it. The secret among them is
    made anew at each start: web pages and other users of the machine, who do not know it, stay out. Alerts by e-mail
    become .eml files in its outbox; 'defectory local status' lists them.

    Examples:

        defectory local up

        defectory local up --port 0 --state .defectory -c author=bedrock
    """
    from rich.console import Console

    from defectory.local import instance
    from defectory.local.cloud import LocalCloud
    from defectory.local.environment import choose_region

    settings = parse_settings(context or [])
    region = region or choose_region(os.environ)
    if state is not None:
        instance.claim_state(state)
    registry = instance.registry(state)
    console = Console(stderr=True)
    cloud = LocalCloud(port=port, state=state, region=region, registry=registry)
    try:
        with step(console, "Starting the local cloud"):
            cloud.start()
        if cloud.report:
            console.print(cloud.report, highlight=False)
        instance.note(registry, cloud.describe())
        show_environment(cloud.environment())
        if deploy:
            _deploy(console, cloud, settings, region)
        console.print(f"Serving at {cloud.endpoint} until Ctrl-C or 'defectory local down'.", highlight=False)
        while not cloud.wait(3600):
            pass
        raise LocalCloudError(f"The local cloud has ended unexpectedly. {cloud.ending()}")
    except (KeyboardInterrupt, SystemExit):
        # To end it is the way to leave it.
        console.print("Stopping ...")
    finally:
        cloud.stop()


def parse_settings(context: list[str]) -> dict[str, str]:
    """Settings given as KEY=VALUE.

    Raises:
        InputError: one is not.
    """
    settings = {}
    for entry in context:
        key, equals, value = entry.partition("=")
        if not (key and equals):
            raise InputError("--context", "KEY=VALUE, such as author=bedrock", entry)
        settings[key] = value
    return settings


def _deploy(console: Console, cloud: LocalCloud, settings: Mapping[str, str], region: str) -> None:
    from defectory.local.synth import synthesise

    with temporary_folder("defectory-local-") as folder:
        with step(console, "Synthesising the application's templates"):
            assembly = synthesise(folder / "cdk.out", context=settings, region=region)
        with step(console, "Deploying them"):
            deployed = cloud.deploy(assembly)
    show_deployed(deployed, cloud.outbox_folder)
