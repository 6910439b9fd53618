"""``defectory datasets``: import, check, split and export labelled images, and learn from what people confirm.

``preparation`` has the commands that make a dataset, ``feedback`` those by which it becomes better.
"""

from __future__ import annotations

import typer

from defectory.cli.datasets import feedback, preparation

app = typer.Typer(no_args_is_help=True, help="Labelled images to train on and to test on.")
app.command("import")(preparation.import_)
app.command()(preparation.check)
app.command()(preparation.split)
app.command()(preparation.export)
app.command()(feedback.confirm)
app.command("fetch-feedback")(feedback.fetch_feedback)
app.command()(feedback.merge)
app.command()(feedback.compare)
