"""``defectory detect``: scenes with true boxes, and detectors of objects trained on them; one module a command."""

from __future__ import annotations

import typer

from defectory.cli.detect import compose, curate, cutouts, evaluate, layouts, predict, serve, train

app = typer.Typer(no_args_is_help=True, help="Scenes with true boxes, and detectors of objects trained on them.")
app.command()(layouts.layouts)
app.command()(compose.compose)
app.command()(cutouts.cutouts)
app.command()(train.train)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(curate.curate)
app.command()(serve.serve)
