"""``defectory inspect``: train a model, ask it, adjust it, evaluate it, serve it.  One module a command."""

from __future__ import annotations

import typer

from defectory.cli.inspect import evaluate, predict, serve, train, tune

app = typer.Typer(
    no_args_is_help=True,
    help="Visual inspection: train from photos of good parts, inspect, evaluate, serve.",
)
app.command()(train.train)
app.command()(predict.predict)
app.command()(tune.tune)
app.command()(evaluate.evaluate)
app.command()(evaluate.report)
app.command()(serve.serve)
