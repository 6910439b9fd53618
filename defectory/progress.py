"""Progress: how far long work is, told in the same way by everything that takes an ``on_progress``.

The work calls it in the thread that it was called in, so whoever listens needs no lock, and the work waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` are through ``stage``; ``item`` names the one that just was ("" where that says nothing).

    Stages follow one another, or run through their totals in turn; within one, ``done`` only grows, up to ``total``.

    >>> Progress("simulating", 3, 10, "Plasma Etcher")
    Progress(stage='simulating', done=3, total=10, item='Plasma Etcher')
    """

    stage: str
    done: int
    total: int
    item: str = ""


OnProgress = Callable[[Progress], None]
"""Hears of each step; what it raises ends the work."""


def ignore_progress(progress: Progress) -> None:
    """Listen to nothing: what ``on_progress`` is where nobody gives one."""
