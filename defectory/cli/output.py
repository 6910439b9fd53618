"""What commands print: JSON for programs, tables and sentences for people, remarks and progress on stderr.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from defectory.progress import OnProgress, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

Result = TypeVar("Result")


def print_json(content: object) -> None:
    """Print ``content`` on stdout, for programs."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def print_table(
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


def remark(text: str) -> None:
    """Say on stderr what deserves a look and stops nothing."""
    typer.secho(text, err=True, fg=typer.colors.YELLOW)


def complain(text: str) -> None:
    """Say on stderr what went wrong."""
    typer.secho(text, err=True, fg=typer.colors.RED)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "mask"), counted(2, "mask"), counted(2, "registry")
    ('1 mask', '2 masks', '2 registries')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


@contextmanager
def step(console: Console, what: str, *, since: float | None = None) -> Iterator[None]:
    """Show ``what`` as under way, then as done with its time; an error passes through.

    Args:
        console: where to show it.
        what: a sentence without its full stop.
        since: when it was begun, by ``time.monotonic``, where that was before.
    """
    started = time.monotonic() if since is None else since
    with console.status(f"{what} ..."):
        yield
    _show_done(console, what, time.monotonic() - started)


def awaited_step(console: Console, what: str, work: Future[tuple[Result, float]]) -> Result:
    """The same for work that was begun beside something else by `timed`: its result, and the time that it took."""
    with console.status(f"{what} ..."):
        result, seconds = work.result()
    _show_done(console, what, seconds)
    return result


def timed(work: Callable[..., Result], *args: object) -> tuple[Result, float]:
    """Do ``work``: its result, and the seconds that it took."""
    started = time.monotonic()
    return work(*args), time.monotonic() - started


def _show_done(console: Console, what: str, seconds: float) -> None:
    console.print(f"[green]✓[/green] {what} [dim]({seconds:.1f} s)[/dim]", highlight=False)


@contextmanager
def progress_bars(
    *, transient: bool = False, hidden: bool = False, console: Console | None = None
) -> Iterator[OnProgress]:
    """A bar for each stage that begins, on stderr; it gives way to the words, so that those fit on 80 columns.

    Args:
        transient: whether the bars go when the work is done.
        hidden: show nothing.
        console: where to draw, in place of stderr.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    columns = (
        TextColumn("{task.description:20}"),
        BarColumn(),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[item]}"),
    )
    bars = Bars(*columns, console=console or Console(stderr=True), transient=transient, disable=hidden)
    tasks: dict[str, TaskID] = {}

    def show(progress: Progress) -> None:
        bars.start()
        if progress.stage not in tasks:
            tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total, item="")
        bars.update(tasks[progress.stage], completed=progress.done, item=progress.item)

    try:
        yield show
    finally:
        if tasks:
            bars.stop()
