"""``defectory local down`` and ``status``: the local cloud that is running, from another shell.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from defectory.cli.local.printing import show_environment, show_status
from defectory.cli.options import JsonOption
from defectory.errors import InputError

StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The folder given to 'up', if it was given one.", file_okay=False),
]


def down(state: StateOption = None) -> None:
    """Stop the local cloud that is running, and everything in it.

    Examples:

        defectory local down

        defectory local down --state .defectory
    """
    from defectory.local import instance

    stopped = instance.stop(instance.registry(state), on_wait=lambda text: typer.echo(text, err=True))
    typer.echo(f"Stopped the local cloud at {stopped.endpoint}." if stopped else "No local cloud is running.")


def status(
    state: StateOption = None,
    as_json: JsonOption = False,
    environment: Annotated[
        bool, typer.Option("--env", help="Print the variables that 'up' printed, and nothing else: for another shell.")
    ] = False,
) -> None:
    """Say what is in the local cloud: stacks with their outputs, pipelines and state machines with their executions,
    endpoints, e-mails sent.

    The exit code is 1 if none is running.  What --json and --env print holds the secret that requests are signed with.

    Examples:

        defectory local status

        defectory local status --json

        eval "$(defectory local status --env)"
    """
    from defectory.local import instance
    from defectory.local.clients import connect
    from defectory.local.environment import client_environment
    from defectory.local.status import look

    if as_json and environment:
        raise InputError("--json, --env", "one of them")

    running = instance.running(instance.registry(state))
    if running is None:
        answer = json.dumps({"running": False}) if as_json else "No local cloud is running: 'defectory local up'."
        # A shell that evaluates what is printed shall not run this sentence.
        typer.echo(answer, err=environment)
        raise typer.Exit(1)
    if environment:
        show_environment(client_environment(running.endpoint, running.account, running.secret, running.region))
        return
    cloud_status = look(
        running, lambda service: connect(service, running.endpoint, running.account, running.secret, running.region)
    )
    if as_json:
        typer.echo(json.dumps({"running": True, **cloud_status.model_dump(mode="json")}, indent=2))
    else:
        show_status(cloud_status)
