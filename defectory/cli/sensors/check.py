"""``defectory sensors check``: whether datasets keep the contract, and if not, why.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption
from defectory.cli.output import print_json, progress_bars

if TYPE_CHECKING:
    from defectory.sensors.checking import DatasetVerdict


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset, or a folder of datasets.")],
    as_json: JsonOption = False,
) -> None:
    """Check datasets against the contract, and explain each failed check with the column, the row and what to do.

    Exit code 1 if a dataset fails, 2 if there is no dataset.

    Examples:

        defectory sensors check data

        defectory sensors check data/rolling-mill --json
    """
    from defectory.sensors.checking import check_datasets, find_datasets

    datasets = find_datasets(folder)
    with progress_bars(hidden=len(datasets) == 1) as show:
        verdicts = check_datasets(datasets, on_progress=show)
    if as_json:
        print_json([_describe(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            _show(verdict)
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


def _describe(verdict: DatasetVerdict) -> dict[str, object]:
    checks = [check.model_dump() for check in verdict.checks]
    return {"folder": str(verdict.folder), "ok": verdict.ok, "problem": verdict.problem, "checks": checks}


def _show(verdict: DatasetVerdict) -> None:
    failed = [check for check in verdict.checks if not check.ok]
    colour = typer.colors.GREEN if verdict.ok else typer.colors.RED
    passed = f"{len(verdict.checks) - len(failed)} of {len(verdict.checks)} checks passed"
    typer.secho(f"{verdict.folder}: {'in order' if verdict.ok else 'FAILED'}, {verdict.problem or passed}", fg=colour)
    for check in failed:
        typer.echo(f"  {check.name}: {check.detail}")
