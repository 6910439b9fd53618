"""Clock: the minutes of one calendar year, as row numbers and as text.

Kept apart from the signals library on purpose: what checks the timestamps must not share code with what writes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from defectory.sensors.dataset import TIMESTAMP_FORMAT

MINUTE = timedelta(minutes=1)
_FORM = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)


def parse_moment(text: str) -> datetime | None:
    """The moment that ``text`` names in exactly ``yyyy-MM-dd HH:mm:ss``, else None."""
    if not _FORM.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Clock:
    """Rows 0, 1, 2, ... are the minutes of ``year`` from January 1st, 00:00."""

    year: int

    @property
    def start(self) -> datetime:
        """The first minute of the year."""
        return datetime(self.year, 1, 1)

    @property
    def rows(self) -> int:
        """525,600 or, in a leap year, 527,040."""
        return (datetime(self.year + 1, 1, 1) - self.start) // MINUTE

    def text(self, row: int) -> str:
        """Row ``row`` as ``yyyy-MM-dd HH:mm:ss``."""
        return (self.start + row * MINUTE).strftime(TIMESTAMP_FORMAT)

    def row(self, text: str) -> int | None:
        """The row of ``text``; None when it is not a whole minute of the year in the exact format."""
        moment = parse_moment(text)
        if moment is None or moment.year != self.year or moment.second:
            return None
        return (moment - self.start) // MINUTE

    def place(self, row: int) -> str:
        """How messages name a row: the data row, counted from 1, and its time."""
        return f"row {row + 1:,} ({self.text(row)})"

    def column(self) -> pl.Series:
        """All rows as text, built from days x minutes because formatting each row is 20 times slower."""
        days = [(self.start + timedelta(days=day)).strftime("%Y-%m-%d ") for day in range(self.rows // 1440)]
        minutes = [f"{hour:02d}:{minute:02d}:00" for hour in range(24) for minute in range(60)]
        grid = pl.DataFrame({"day": days}).join(
            pl.DataFrame({"minute": minutes}), how="cross", maintain_order="left_right"
        )
        return grid.select(pl.concat_str("day", "minute")).to_series()
