"""The ``defectory inspect`` commands: train a model, ask it, evaluate it, serve it."""

from __future__ import annotations

import typer

from defectory.cli import inspect_evaluation, inspect_model, inspect_serving

app = typer.Typer(
    no_args_is_help=True,
    help="Visual inspection: train from photos of good parts, inspect, evaluate, serve.",
)
app.command()(inspect_model.train)
app.command()(inspect_model.predict)
app.command()(inspect_model.tune)
app.command()(inspect_evaluation.evaluate)
app.command()(inspect_evaluation.report)
app.command()(inspect_serving.serve)
