"""``defectory aws``: what the application is in an AWS account, beyond deploying it."""

from __future__ import annotations

import typer

from defectory.cli.aws import destroy

app = typer.Typer(no_args_is_help=True, help="The application in your AWS account, once it is deployed.")
app.callback()(lambda: None)
app.command()(destroy.destroy)
