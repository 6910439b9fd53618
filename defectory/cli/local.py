"""``defectory local``: an AWS on this machine with the application in it, until it is stopped.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from defectory.errors import InputError, LocalCloudError

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.local.cloud import LocalCloud
    from defectory.local.status import CloudStatus

app = typer.Typer(
    no_args_is_help=True, help="An AWS on this machine, without account or Docker, with the application in it."
)

DEFAULT_PORT = 4566
DOWN_SECONDS = 60.0

StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The folder given to 'up', if it was given one.", file_okay=False),
]


@app.command()
def up(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on the loopback interface; 0 takes a free one.")
    ] = DEFAULT_PORT,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder to keep everything in: the next 'up' with it finds stacks, functions, queues with their "
            "messages, tables, objects, logs, e-mails and the pipelines' history again. Objects and e-mails are kept "
            "at once, all else when it is stopped; a build or execution under way then ends as failed. "
            "Without it nothing is kept.",
            file_okay=False,
        ),
    ] = None,
    deploy: Annotated[
        bool, typer.Option("--deploy/--no-deploy", help="Synthesise the application and deploy it.")
    ] = True,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", help="KEY=VALUE: a setting of the application, as for cdk; may be repeated."),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="AWS region to pretend to be.", show_default="from AWS_REGION, else us-east-1")
    ] = None,
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
    from defectory.local.environment import DEFAULT_REGION

    settings = _settings(context or [])
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    if state is not None:
        instance.claim_state(state)
    registry = instance.registry(state)
    console = Console(stderr=True)
    cloud = LocalCloud(port=port, state=state, region=region, registry=registry)
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _step(console, "Starting the local cloud"):
            cloud.start()
        instance.note(registry, _instance(cloud, state))
        _show_environment(cloud.environment())
        if deploy:
            _deploy(console, cloud, settings, region)
        console.print(f"Serving at {cloud.endpoint} until Ctrl-C or 'defectory local down'.", highlight=False)
        while not cloud.wait(3600):
            pass
        raise LocalCloudError(f"The local cloud has ended unexpectedly. Its log ends with:\n{cloud.log_tail()}")
    except KeyboardInterrupt:
        console.print("Stopping ...")
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        cloud.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def down(state: StateOption = None) -> None:
    """Stop the local cloud that is running, and everything in it.

    Examples:

        defectory local down

        defectory local down --state .defectory
    """
    from defectory.local import instance

    registry = instance.registry(state)
    if not instance.is_locked(registry):
        typer.echo("No local cloud is running.")
        return
    found = instance.running(registry)
    if found is None:
        raise LocalCloudError("A local cloud is about to start or to end; try again in a moment.")
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        typer.echo("Its process is gone; waiting for the rest to end.", err=True)
    deadline = time.monotonic() + DOWN_SECONDS
    while instance.is_locked(registry):
        if time.monotonic() > deadline:
            raise LocalCloudError(f"Process {found.pid} has not ended within {DOWN_SECONDS:.0f} s.")
        time.sleep(0.1)
    typer.echo(f"Stopped the local cloud at {found.endpoint}.")


@app.command()
def status(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
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

    found = instance.running(instance.registry(state))
    if found is None:
        said = json.dumps({"running": False}) if as_json else "No local cloud is running: 'defectory local up'."
        # A shell that evaluates what is printed shall not run this sentence.
        typer.echo(said, err=environment)
        raise typer.Exit(1)
    if environment:
        _show_environment(client_environment(found.endpoint, found.account, found.secret, found.region))
        return
    seen = look(found, lambda service: connect(service, found.endpoint, found.account, found.secret, found.region))
    if as_json:
        typer.echo(json.dumps({"running": True, **seen.model_dump(mode="json")}, indent=2))
    else:
        _show(seen)


def _settings(context: list[str]) -> dict[str, str]:
    settings = {}
    for entry in context:
        key, equals, value = entry.partition("=")
        if not (key and equals):
            raise InputError("--context", "KEY=VALUE, such as author=bedrock", entry)
        settings[key] = value
    return settings


def _instance(cloud: LocalCloud, state: Path | None) -> Any:  # noqa: ANN401 - imported where it is used
    from defectory.local.instance import Instance

    return Instance(
        pid=os.getpid(),
        endpoint=cloud.endpoint,
        account=cloud.settings.account,
        secret=cloud.settings.secret,
        region=cloud.settings.region,
        folder=cloud.settings.folder,
        outbox=cloud.outbox_folder,
        persistent=state is not None,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(f"{what} ..."):
        yield
    console.print(f"[green]✓[/green] {what} [dim]({time.monotonic() - started:.1f} s)[/dim]", highlight=False)


def _show_environment(environment: Mapping[str, str]) -> None:
    """On stdout, ready to be copied into a shell."""
    from defectory.local.environment import SCRUBBED

    typer.echo(f"unset {' '.join(SCRUBBED)}")
    for name, value in environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _deploy(console: Console, cloud: LocalCloud, settings: Mapping[str, str], region: str) -> None:
    from defectory.local.synth import synthesise

    with tempfile.TemporaryDirectory(prefix="defectory-local-") as folder:
        with _step(console, "Synthesising the application's templates"):
            assembly = synthesise(Path(folder) / "cdk.out", context=settings, region=region)
        with _step(console, "Deploying them"):
            deployed = cloud.deploy(assembly)
    for stack, outputs in deployed.items():
        typer.echo(f"# {stack}")
        for name, value in outputs.items():
            typer.echo(f"#   {name} = {value}")
    typer.echo(f"# E-mails: {cloud.outbox_folder}")


def _show(seen: CloudStatus) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # What is copied from here has to be whole: no line is cut or wrapped.
    console = Console(soft_wrap=True, highlight=False)
    kept = f", kept in {seen.instance.folder}" if seen.instance.persistent else ", nothing is kept"
    console.print(Text(f"Local cloud at {seen.instance.endpoint} (process {seen.instance.pid}{kept})"))
    for stack in seen.stacks:
        console.print(Text(f"\nStack {stack.name}: {stack.status}"))
        for name, value in stack.outputs.items():
            console.print(Text(f"  {name} = {value}"))
    for pipeline in seen.pipelines:
        console.print(Text(f"\nPipeline {pipeline.name}"))
        if pipeline.executions:
            table = Table(box=None, pad_edge=False)
            for column in ("started", "status", "action", "variables", "summary"):
                table.add_column(column, overflow="fold")
            for execution in pipeline.executions:
                variables = " ".join(f"{name}={value}" for name, value in execution.variables.items())
                cells = (execution.started_at, execution.status, execution.action, variables, execution.summary)
                table.add_row(*map(Text, cells))
            console.print(table)
        else:
            console.print("  no executions yet")
    for machine in seen.state_machines:
        console.print(Text(f"\nState machine {machine.name}"))
        if machine.executions:
            table = Table(box=None, pad_edge=False)
            for column in ("started", "status", "execution", "error"):
                table.add_column(column, overflow="fold")
            for run in machine.executions:
                table.add_row(*map(Text, (run.started_at, run.status, run.name, run.error)))
            console.print(table)
        else:
            console.print(
                "  express: its log tells of executions" if machine.type == "EXPRESS" else "  no executions yet"
            )
    for endpoint in seen.endpoints:
        kind = f" ({endpoint.kind})" if endpoint.kind else ""
        console.print(Text(f"\nEndpoint {endpoint.name}{kind}: {endpoint.status}, {endpoint.config}"))
        if endpoint.reason:
            console.print(Text(f"  {endpoint.reason}"))
    console.print(Text(f"\nE-mails in {seen.instance.outbox}: {len(seen.mails)}"))
    for mail in seen.mails:
        console.print(Text(f"  {mail.sent_at}  {mail.to}  {mail.subject}  {Path(mail.file).name}"))
