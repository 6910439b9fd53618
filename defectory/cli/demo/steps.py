"""Steps of the demo: shown while they are under way, ticked off with their time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    """Show ``what`` as under way, then as done; an error passes through."""
    started = time.monotonic()
    with console.status(f"{what} ..."):
        yield
    console.print(f"[green]✓[/green] {what} [dim]({time.monotonic() - started:.1f} s)[/dim]", highlight=False)
