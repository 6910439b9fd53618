"""``defectory inspect tune``: other thresholds or rules, tried on stored results first.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from defectory.cli.options import JsonOption, ModelArgument, out_file
from defectory.cli.output import print_json


def tune(
    model: ModelArgument,
    results: Annotated[
        Path | None, typer.Option(help="Stored results to try it on: what `predict --json` printed.", dir_okay=False)
    ] = None,
    review: Annotated[float | None, typer.Option(help="Scores from here on are REVIEW.")] = None,
    fail: Annotated[float | None, typer.Option(help="Scores from here on FAIL.")] = None,
    rules: Annotated[Path | None, typer.Option(help="JSON file of rules.", dir_okay=False)] = None,
    out: Annotated[Path | None, out_file("Write the changed model here; without it, only try.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Give a model other thresholds or rules, after seeing what that would have changed in stored results.

    Examples:

        defectory inspect tune model.tar.gz --rules rules.json --results stored.json

        defectory inspect tune model.tar.gz --rules rules.json --fail 0.3 --out stricter.tar.gz
    """
    from defectory.inspection.model import load_model
    from defectory.inspection.rules import load_rules
    from defectory.inspection.tuning import read_results
    from defectory.inspection.tuning import tune as tune_model

    tuning = tune_model(
        load_model(model),
        read_results(results) if results else (),
        review=review,
        fail=fail,
        rules=load_rules(rules) if rules else None,
    )
    tuned, trial = tuning.model, tuning.trial
    if out:
        tuned.save(out)
    if as_json:
        print_json({"version": tuned.card.version, "out": str(out) if out else None, **trial.model_dump(mode="json")})
        return
    for change in trial.changes:
        typer.echo(f"result {change.index + 1}: {change.before} -> {change.after}  ({change.reason})")
    typer.echo(f"{len(trial.changes)} of {trial.results} stored verdicts change, {trial.stricter} of them to stricter")
    typer.echo(f"Model {tuned.card.version} is in {out}" if out else "Nothing was written; --out writes the model.")
