"""Files: read what a dataset folder holds without trusting any of it.

Only regular files are read, never through a link, and never more of them than an honest dataset could need.
"""

from __future__ import annotations

import csv
import io
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from defectory.errors import shorten
from defectory.sensors.contract.clock import Clock, parse_moment
from defectory.sensors.dataset import TIMESTAMP, Manifest

Column = NDArray[np.float64]

MAX_SMALL_FILE = 4 << 20
LONGEST_NUMBER = 26  # characters: the longest shortest-form double, and its comma
_TIME_LENGTH = 20
_BOM = b"\xef\xbb\xbf"


class Unfit(Exception):
    """A file is not what it has to be; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Table:
    """The signals of ``data.csv`` in the manifest's order, each of shape ``(rows,)``; finite and read-only."""

    moments: pl.Series
    columns: tuple[Column, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.moments)


def largest_table(manifest: Manifest, clock: Clock) -> int:
    """Bytes that ``data.csv`` needs at the very most."""
    signals = len(manifest.signals)
    return (clock.rows + 1) * (_TIME_LENGTH + signals * LONGEST_NUMBER) + 66 * signals


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises:
        Unfit: missing, a link, not a regular file, unreadable, or larger.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unfit(f"{path.name} is missing; write it into the dataset folder") from None
    except OSError as error:
        raise Unfit(f"{path.name} cannot be opened as a regular file ({error.strerror}); write a plain file") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, which Path cannot open
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Unfit(f"{path.name} is not a regular file; write a plain file")
        if status.st_size > limit:
            raise Unfit(
                f"{path.name} has {status.st_size:,} bytes, at most {limit:,} are possible; write only its rows"
            )
        try:
            return file.read(limit)
        except OSError as error:
            raise Unfit(f"{path.name} cannot be read ({error.strerror})") from None


def encoding_problem(name: str, raw: bytes) -> str:
    """What is wrong with the bytes of a CSV file: byte order mark, NUL, line ends, UTF-8; empty when nothing is."""
    if not raw:
        return f"{name} is empty; write a header line and the rows"
    if raw.startswith(_BOM):
        return f"{name} starts with a byte order mark; write UTF-8 without one (encoding='utf-8', not 'utf-8-sig')"
    if (at := raw.find(b"\0")) >= 0:
        return f"{name} holds a NUL byte in line {_line(raw, at)}; write text, as UTF-8 (not UTF-16 and not binary)"
    if (at := raw.find(b"\r")) >= 0:
        return f"{name} holds a carriage return in line {_line(raw, at)}; end lines with LF alone (newline='\\n')"
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            return f"{name} is not UTF-8 in line {_line(raw, error.start)}; write it with encoding='utf-8'"
    if not raw.endswith(b"\n"):
        return f"{name} does not end with a line feed: its last line may be cut off; end every line with LF"
    return ""


def header_problem(raw: bytes, names: Sequence[str]) -> str:
    """How the first line of ``data.csv`` differs from ``Timestamp`` and the ``names``; empty when it does not."""
    expected = [TIMESTAMP, *names]
    line = raw[:65536].split(b"\n", 1)[0].decode(errors="replace")
    if line == ",".join(expected):
        return ""
    header = line.split(",")
    fix = f"the header has to be {shorten(','.join(expected), 400)}"
    if len(header) == 1:
        return f"the first line {shorten(line)!r} holds no comma; separate columns by commas, and {fix}"
    if header[0] != TIMESTAMP:
        return f"the first column is {shorten(header[0])!r} instead of {TIMESTAMP!r}; {fix}"
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        return f"column {shorten(doubled[0])!r} stands in the header more than once; {fix}"
    missing = [name for name in expected if name not in header]
    if missing:
        return f"column {missing[0]} of dataset.json is missing; {fix}"
    extra = [name for name in header if name not in expected]
    if extra:
        return f"column {shorten(extra[0])!r} is not a signal of dataset.json; drop it or declare it, and {fix}"
    return f"the columns are not in the order of dataset.json; {fix}"


def parse_table(raw: bytes, names: Sequence[str]) -> Table:
    """Parse ``data.csv``, whose header is known to be right.

    Raises:
        Unfit: a row with too few or too many fields, or a value that is no finite number; the message names the place.
    """
    schema: dict[str, pl.DataType] = {TIMESTAMP: pl.String(), **dict.fromkeys(names, pl.Float64())}
    if (at := raw.find(b'"')) >= 0:
        raise Unfit(f"line {_line(raw, at)} holds a quoted field; write plain numbers without quotes")
    try:
        frame = pl.read_csv(raw, schema=schema, quote_char=None, truncate_ragged_lines=False, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Unfit(_first_bad_value(raw, names) or f"data.csv cannot be parsed: {shorten(str(error))}") from None
    columns = tuple(frame[name].to_numpy() for name in names)
    for name, values in zip(names, columns, strict=True):
        # The sum is finite when every value is, but for numbers so large that they overflow it.
        if frame[name].null_count() or (not math.isfinite(values.sum()) and not np.isfinite(values).all()):
            raise Unfit(_first_bad_value(raw, names) or f"column {name} holds empty or infinite values")
    return Table(frame[TIMESTAMP], columns)


def _first_bad_value(raw: bytes, names: Sequence[str]) -> str:
    """Find, line by line, what the fast parser only knows to be somewhere."""
    for row, line in enumerate(raw.splitlines()[1:], 1):
        fields = line.split(b",")
        where = f"row {row:,} ({fields[0].decode(errors='replace')[:19]})"
        if len(fields) != len(names) + 1:
            return f"{where} has {len(fields)} fields instead of {len(names) + 1}; write one number for every column"
        for name, field in zip(names, fields[1:], strict=True):
            try:
                finite = math.isfinite(float(field)) and b"_" not in field and field == field.strip()
            except ValueError:
                finite = False
            if not finite:
                shown = shorten(field.decode(errors="replace"), 40)
                return f"column {name}, {where}: {shown!r} is not a finite number; fill gaps, write digits only"
    return ""


def timestamp_problem(moments: pl.Series, clock: Clock) -> str:
    """How ``moments`` differ from every minute of the year in the exact format; empty when they do not."""
    expected = clock.column()
    whole_year = f"write every minute from {clock.text(0)} to {clock.text(clock.rows - 1)}, {clock.rows:,} rows"
    common = min(len(moments), clock.rows)
    same = moments.head(common).eq_missing(expected.head(common))
    if same.all():
        if len(moments) == clock.rows:
            return ""
        last = moments[len(moments) - 1] if len(moments) else "nothing"
        return f"{len(moments):,} rows up to {shorten(str(last), 40)}; {whole_year}"
    row = int(same.arg_min() or 0)
    text, previous = str(moments[row]), str(moments[row - 1]) if row else ""
    moment = parse_moment(text)
    if moment is None:
        reason = f"{shorten(text, 40)!r} is not in the format yyyy-MM-dd HH:mm:ss"
    elif moment.year != clock.year:
        reason = f"{text} is not in {clock.year}, the year of dataset.json"
    elif text == previous:
        reason = f"{text} stands twice"
    else:
        reason = f"{text} stands where {expected[row]} has to be: a gap, a duplicate or a shifted clock"
    return f"row {row + 1:,}: {reason}; {whole_year}"


def parquet_problem(raw: bytes, names: Sequence[str], table: Table | None, clock: Clock) -> str:
    """How ``data.parquet`` differs from the ``table`` read from ``data.csv``; empty when it does not.

    Without a table only the columns, their types and the number of rows are looked at.
    """
    again = "write both files from the same data frame"
    try:
        schema = pl.read_parquet_schema(io.BytesIO(raw))
        if list(schema) != [TIMESTAMP, *names]:
            return f"its columns are {shorten(', '.join(schema), 300)} instead of {TIMESTAMP} and the signals; {again}"
        kind = schema[TIMESTAMP]
        if not isinstance(kind, pl.Datetime) or kind.time_zone is not None:
            return f"its {TIMESTAMP} is {kind} instead of a timestamp without time zone; write datetimes, not text"
        wrong = next((name for name in names if not schema[name].is_numeric()), None)
        if wrong is not None:
            return f"its column {wrong} is {schema[wrong]} instead of a number; {again}"
        rows = pl.scan_parquet(io.BytesIO(raw)).select(pl.len()).collect().item()
        if rows != clock.rows:
            return f"it has {rows:,} rows instead of {clock.rows:,}; {again}"
        return "" if table is None else _different_values(pl.read_parquet(io.BytesIO(raw)), names, table, clock)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        return f"it cannot be read as Parquet ({shorten(str(error))}); {again}"


def _different_values(frame: pl.DataFrame, names: Sequence[str], table: Table, clock: Clock) -> str:
    again = "write both files from the same data frame"
    minutes = frame[TIMESTAMP].dt.epoch("ms").to_numpy()
    first = round((clock.start - type(clock.start)(1970, 1, 1)).total_seconds() * 1000)
    expected = first + 60_000 * np.arange(clock.rows, dtype=np.int64)
    if frame[TIMESTAMP].null_count() or not np.array_equal(minutes, expected):
        return f"its {TIMESTAMP} is not every minute of {clock.year}; {again}"
    for name, values in zip(names, table.columns, strict=True):
        stored = frame[name]
        other = stored.cast(pl.Float64).to_numpy()
        if np.array_equal(values, other):
            continue
        tolerance = 1e-6 if stored.dtype == pl.Float32 else 1e-12
        unequal = ~np.isclose(values, other, rtol=tolerance, atol=0)
        if unequal.any():
            row = int(unequal.argmax())
            place = clock.place(row)
            return f"column {name}, {place}: {other[row]} there, {values[row]} in data.csv; {again}"
    return ""


def parse_rows(name: str, raw: bytes, columns: Sequence[str]) -> list[list[str]]:
    """The rows of a small CSV file with exactly these ``columns``.

    Raises:
        Unfit: another header, a broken quote, or a row with another number of fields.
    """
    try:
        rows = list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))
    except csv.Error as error:
        raise Unfit(f"{name} cannot be parsed ({error}); quote names that hold commas or quotes") from None
    if not rows or rows[0] != list(columns):
        header = ",".join(rows[0]) if rows else ""
        raise Unfit(f"the header of {name} is {shorten(header)!r} and has to be {','.join(columns)!r}")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(columns):
            raise Unfit(
                f"row {number:,} of {name} has {len(row)} fields instead of {len(columns)}: {','.join(columns)}"
            )
    return rows[1:]


def _line(raw: bytes, position: int) -> str:
    return format(raw.count(b"\n", 0, position) + 1, ",")
