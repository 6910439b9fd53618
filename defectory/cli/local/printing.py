"""What the commands of ``defectory local`` say of a local cloud.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from defectory.local.status import CloudStatus


def show_environment(environment: Mapping[str, str]) -> None:
    """The variables on stdout, ready to be copied into a shell."""
    from defectory.local.environment import SCRUBBED

    typer.echo(f"unset {' '.join(SCRUBBED)}")
    for name, value in environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def show_deployed(stacks: Mapping[str, Mapping[str, str]], outbox: Path) -> None:
    """The outputs of stacks, as comments of a shell."""
    for stack, outputs in stacks.items():
        typer.echo(f"# {stack}")
        for name, value in outputs.items():
            typer.echo(f"#   {name} = {value}")
    typer.echo(f"# E-mails: {outbox}")


def show_status(status: CloudStatus) -> None:
    """All that is in a running cloud."""
    from rich.console import Console
    from rich.text import Text

    # What is copied from here has to be whole: no line is cut or wrapped.
    console = Console(soft_wrap=True, highlight=False)
    instance = status.instance
    storage = f", kept in {instance.folder}" if instance.persistent else ", nothing is kept"
    console.print(Text(f"Local cloud at {instance.endpoint} (process {instance.pid}{storage})"))
    for stack in status.stacks:
        console.print(Text(f"\nStack {stack.name}: {stack.status}"))
        for name, value in stack.outputs.items():
            console.print(Text(f"  {name} = {value}"))
    _show_executions(console, status)
    for endpoint in status.endpoints:
        kind = f" ({endpoint.kind})" if endpoint.kind else ""
        console.print(Text(f"\nEndpoint {endpoint.name}{kind}: {endpoint.status}, {endpoint.config}"))
        if endpoint.reason:
            console.print(Text(f"  {endpoint.reason}"))
    console.print(Text(f"\nE-mails in {instance.outbox}: {len(status.mails)}"))
    for mail in status.mails:
        console.print(Text(f"  {mail.sent_at}  {mail.to}  {mail.subject}  {Path(mail.file).name}"))


def _show_executions(console: Console, status: CloudStatus) -> None:
    from rich.text import Text

    for pipeline in status.pipelines:
        console.print(Text(f"\nPipeline {pipeline.name}"))
        rows = [
            (
                execution.started_at,
                execution.status,
                execution.action,
                " ".join(f"{name}={value}" for name, value in execution.variables.items()),
                execution.summary,
            )
            for execution in pipeline.executions
        ]
        _show_table(console, ("started", "status", "action", "variables", "summary"), rows)
    for machine in status.state_machines:
        console.print(Text(f"\nState machine {machine.name}"))
        if machine.type == "EXPRESS" and not machine.executions:
            console.print("  express: its log tells of executions")
            continue
        runs = [(run.started_at, run.status, run.name, run.error) for run in machine.executions]
        _show_table(console, ("started", "status", "execution", "error"), runs)


def _show_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        console.print("  no executions yet")
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
