"""``defectory sensors``: what the catalogue holds, generate datasets on this machine, check them.

One module a command.
"""

from __future__ import annotations

import typer

from defectory.cli.sensors import catalogue, check, generate

app = typer.Typer(no_args_is_help=True, help="A year of labelled sensor data for every machine of an industry.")
app.command()(catalogue.catalogue)
app.command()(generate.generate)
app.command()(check.check)
