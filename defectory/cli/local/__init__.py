"""``defectory local``: an AWS on this machine with the application in it, until it is stopped.

One module for the command that runs it, one for those that reach it from another shell.
"""

from __future__ import annotations

import typer

from defectory.cli.local import status, up

app = typer.Typer(
    no_args_is_help=True, help="An AWS on this machine, without account or Docker, with the application in it."
)
app.command()(up.up)
app.command()(status.down)
app.command()(status.status)
