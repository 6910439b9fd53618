"""``defectory sensors``: what the catalogue holds, generate datasets on this machine, check them.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.errors import DefectoryError, InputError

if TYPE_CHECKING:
    from defectory.sensors.catalogue import MachineEntry
    from defectory.sensors.dataset import CheckResult
    from defectory.sensors.generate import Generation, Progress

app = typer.Typer(no_args_is_help=True, help="A year of labelled sensor data for every machine of an industry.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

CHECK_SECONDS = 600.0


class AuthorChoice(StrEnum):
    """Who lists the machines and writes the scripts."""

    catalogue = "catalogue"
    bedrock = "bedrock"


class PromptStyleChoice(StrEnum):
    """How author bedrock is asked."""

    library = "library"
    freeform = "freeform"


@app.command()
def catalogue(
    industry: Annotated[str | None, typer.Argument(help="Show the machines and signals of this industry.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the industries of the built-in catalogue, or the machines and signals of one of them.

    Examples:

        defectory sensors catalogue

        defectory sensors catalogue semiconductor
    """
    from defectory.sensors.catalogue import find_industry, industries, machines

    if industry is None:
        listed = [
            {"industry": each.key, "title": each.title, "aliases": each.aliases, "machines": len(machines(each.key))}
            for each in industries()
        ]
        if as_json:
            _print_json(listed)
        else:
            _print_table("Industries", ["industry", "title", "machines"], listed)
        return
    found = find_industry(industry)
    entries = machines(found.key)
    if as_json:
        _print_json({"industry": found.key, "machines": [_describe_machine(entry) for entry in entries]})
        return
    rows = [
        {
            "machine": entry.name,
            "signals": "\n".join(f"{signal.name} [{signal.unit}]" for signal in entry.signals),
            "fails by": "\n".join(failure.name for failure in entry.failures),
        }
        for entry in entries
    ]
    _print_table(found.title, ["machine", "signals", "fails by"], rows, unbroken="signals", lines=True)


@app.command()
def generate(
    industry: Annotated[str, typer.Option(help="Industry, such as semiconductor.")],
    number: Annotated[int, typer.Option(help="How many machines, 1 to 50.")],
    user_id: Annotated[str, typer.Option(help="Whom the data is for; it is kept in each dataset's manifest.")],
    out: Annotated[Path, typer.Option(help="New or empty folder for the datasets.", file_okay=False)],
    author: Annotated[
        AuthorChoice, typer.Option(help="catalogue: curated, offline, free. bedrock: a model writes it.")
    ] = AuthorChoice.catalogue,
    model_id: Annotated[str | None, typer.Option(help="Inference profile id, for author bedrock.")] = None,
    prompt_style: Annotated[
        PromptStyleChoice, typer.Option(help="For author bedrock: with the signals library, or free.")
    ] = PromptStyleChoice.library,
    region: Annotated[str | None, typer.Option(help="AWS region of the model.", show_default="from AWS_REGION")] = None,
    year: Annotated[int | None, typer.Option(help="Calendar year.", show_default="the last complete one")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Generate a year of labelled data for each machine of an industry, on this machine, without any cloud.

    Example:

        defectory sensors generate --industry steel --number 3 --user-id ann --out data
    """
    from defectory.sensors.authors import create_author
    from defectory.sensors.generate import generate_datasets

    writer = create_author(author.value, model_id=model_id, prompt_style=prompt_style.value, region=region)
    with _progress_bars() as show:
        generation = generate_datasets(
            industry, number, user_id, out, author=writer, year=year, seed=seed, on_progress=show
        )
    if as_json:
        _print_json(_describe(generation, out))
    else:
        _show_generation(generation, out)
    if generation.failed:
        raise typer.Exit(1)


@app.command()
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
    from rich.console import Console
    from rich.progress import track

    from defectory.sensors.pipeline.workers import Lost, run_isolated

    datasets = _datasets_in(folder)
    outcomes = run_isolated(check_folder, datasets, seconds=CHECK_SECONDS)
    verdicts = []
    for path, outcome in track(
        outcomes, "checking", len(datasets), console=Console(stderr=True), disable=len(datasets) == 1
    ):
        verdicts.append(Verdict(path, (), outcome.reason) if isinstance(outcome, Lost) else outcome)
    verdicts.sort(key=lambda verdict: verdict.folder)
    if as_json:
        _print_json([verdict.describe() for verdict in verdicts])
    else:
        for verdict in verdicts:
            _show_verdict(verdict)
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the contract says of one dataset; ``problem`` is why it could not be checked."""

    folder: Path
    checks: tuple[CheckResult, ...]
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem and all(check.ok for check in self.checks)

    def describe(self) -> dict[str, object]:
        checks = [check.model_dump() for check in self.checks]
        return {"folder": str(self.folder), "ok": self.ok, "problem": self.problem, "checks": checks}


def check_folder(folder: Path) -> Verdict:
    """Check one dataset."""
    from defectory.sensors.contract import check_dataset

    try:
        return Verdict(folder, check_dataset(folder).checks)
    except DefectoryError as error:
        return Verdict(folder, (), str(error))


def _datasets_in(folder: Path) -> list[Path]:
    from defectory.sensors.dataset import DATA_CSV, MANIFEST

    def is_dataset(path: Path) -> bool:
        return any((path / name).is_file() for name in (MANIFEST, DATA_CSV))

    try:
        if is_dataset(folder):
            return [folder]
        found = sorted(path for path in folder.iterdir() if is_dataset(path)) if folder.is_dir() else []
    except OSError as error:
        raise InputError("DIR", f"a folder that can be read ({error.strerror})", str(folder)) from None
    if not found:
        fix = f"A dataset holds {DATA_CSV} and {MANIFEST}; `defectory sensors generate` makes some."
        raise InputError("DIR", "a dataset, or a folder of datasets", str(folder), fix)
    return found


@contextmanager
def _progress_bars() -> Iterator[Callable[[Progress], None]]:
    """A bar for each stage, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.fields[machine]}"), console=Console(stderr=True)) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total, machine="")
            bars.update(tasks[progress.stage], completed=progress.done, machine=progress.machine)

        yield show


def _describe_machine(entry: MachineEntry) -> dict[str, object]:
    signals = [
        signal.model_dump(include={"name", "unit", "kind", "low", "high", "description"}) for signal in entry.signals
    ]
    return {"name": entry.name, "description": entry.description, "signals": signals}


def _describe(generation: Generation, out: Path) -> dict[str, object]:
    machines = [
        {
            "name": machine.name,
            "slug": machine.slug,
            "ok": machine.folder is not None,
            "folder": None if machine.folder is None else str(machine.folder),
            "attempts": machine.attempts,
            "reasons": machine.reasons,
        }
        for machine in generation.machines
    ]
    return {"out": str(out), "note": generation.note, "warnings": generation.warnings, "machines": machines}


def _show_generation(generation: Generation, out: Path) -> None:
    rows = [
        {
            "machine": machine.name,
            "result": "ready" if machine.folder else "FAILED",
            "folder or reason": machine.slug if machine.folder else "\n".join(machine.reasons),
        }
        for machine in generation.machines
    ]
    _print_table(f"Datasets in {out}", ["machine", "result", "folder or reason"], rows)
    for remark in filter(None, (generation.note, *generation.warnings)):
        typer.secho(f"Note: {remark}", err=True, fg=typer.colors.YELLOW)
    ready = len(generation.machines) - len(generation.failed)
    typer.echo(f"{ready} of {len(generation.machines)} datasets are ready; start with {out / 'index.html'}")


def _show_verdict(verdict: Verdict) -> None:
    failed = [check for check in verdict.checks if not check.ok]
    colour = typer.colors.GREEN if verdict.ok else typer.colors.RED
    passed = f"{len(verdict.checks) - len(failed)} of {len(verdict.checks)} checks passed"
    typer.secho(f"{verdict.folder}: {'in order' if verdict.ok else 'FAILED'}, {verdict.problem or passed}", fg=colour)
    for check in failed:
        typer.echo(f"  {check.name}: {check.detail}")


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def _print_table(
    title: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]], *, unbroken: str = "", lines: bool = False
) -> None:
    """Print a table; the column ``unbroken`` gets the width it needs."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_lines=lines)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == unbroken)
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in columns))
    Console().print(table)
