"""The contract: a dataset in order passes, and each thing that can be wrong fails the check it belongs to.

Every fault starts from the same good year, changes one thing, and has to be told with its column or file, its row and
what to do.
"""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.errors import InputError
from defectory.sensors.contract import check_dataset
from defectory.sensors.contract.clock import Clock
from defectory.sensors.contract.files import Unfit, parse_rows, parse_table
from defectory.sensors.contract.labels import parse_events, parse_labels
from defectory.sensors.dataset import DATA_CSV, EVENT_COLUMNS, LABEL_COLUMNS
from defectory.sensors.signals import Machine

YEAR = 2025
NAMES = ("Flow", "Vibration", "Bearing_Temperature", "Tank_Level")
FIRST = datetime(YEAR, 1, 1)
Fault = Callable[[Path], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    m = Machine("Feed Pump", year=YEAR, seed=7)
    m.shifts(per_day=2, days=6)
    wear = m.maintenance("seal change", every_hours=900, minutes=180)
    m.failure("bearing", {"Vibration": 6, "Bearing_Temperature": 4}, hours=48)
    load = m.on * m.demand(0.8, 0.07)
    m.signal("Flow", 120 * m.lag(load, 2), unit="m3/h", kind="flow", low=0, high=300, noise=1.0)
    m.signal("Vibration", 1.5 * load * (1 + wear), unit="mm/s", kind="vibration", low=0, high=25, noise=0.08)
    heat = m.lag(30 * load, 40, falling=90) + m.ambient(20, 6, 2)
    m.signal("Bearing_Temperature", heat, unit="degC", kind="temperature", low=-20, high=160, noise=0.3)
    m.signal("Tank_Level", 60 + m.wander(6, 9), unit="%", kind="level", low=0, high=100, noise=0.2)
    m.correlated("Flow", "Vibration", "+")
    m.anomalies(count=20)
    m.write(folder)
    assert check_dataset(folder).failures == []
    return folder


@pytest.fixture
def dataset(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "dataset"))


# ------------------------------------------------------------------------------------------------ ways to spoil it


def text(name: str, old: str, new: str, count: int = 1) -> Fault:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new, count))

    return spoil


def raw(name: str, change: Callable[[bytes], bytes]) -> Fault:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def lines(name: str, change: Callable[[list[str]], list[str]]) -> Fault:
    return raw(name, lambda content: ("\n".join(change(content.decode().splitlines())) + "\n").encode())


def missing(name: str) -> Fault:
    return lambda folder: (folder / name).unlink()


def linked(name: str) -> Fault:
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return spoil


def pipe(name: str) -> Fault:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def manifest(change: Callable[[dict], object]) -> Fault:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / "dataset.json").read_text())
        change(content)
        (folder / "dataset.json").write_text(json.dumps(content))

    return spoil


def values(column: str, change: Callable[[np.ndarray], object]) -> Fault:
    """Change a column in data.csv and data.parquet alike."""

    def spoil(folder: Path) -> None:
        frame = pl.read_parquet(folder / "data.parquet")
        changed = frame[column].to_numpy().copy()
        change(changed)
        frame = frame.with_columns(pl.Series(column, np.round(changed, 4)))
        frame.write_csv(folder / DATA_CSV, datetime_format="%Y-%m-%d %H:%M:%S")
        frame.write_parquet(folder / "data.parquet")

    return spoil


def put(rows: slice, value: float) -> Callable[[np.ndarray], None]:
    def change(column: np.ndarray) -> None:
        column[rows] = value

    return change


def add(rows: slice, value: float) -> Callable[[np.ndarray], None]:
    def change(column: np.ndarray) -> None:
        column[rows] += value

    return change


def white(column: np.ndarray) -> None:
    column[:] = np.random.default_rng(1).normal(50, 5, column.size)


def moment(row: int) -> str:
    return str(FIRST + timedelta(minutes=row))


def labels(*rows: str) -> Fault:
    return lambda folder: (folder / "labels.csv").write_text("\n".join([",".join(LABEL_COLUMNS), *rows]) + "\n")


def relabelled(*rows: str) -> Fault:
    """Add labels to those there are."""
    return raw("labels.csv", lambda content: content + "".join(row + "\n" for row in rows).encode())


def invisible(folder: Path) -> None:
    """Labels where nothing happened, far from every other label and event."""
    busy = np.zeros(Clock(YEAR).rows, bool)
    for name in ("labels.csv", "events.csv"):
        for row in csv.reader(io.StringIO((folder / name).read_text().split("\n", 1)[1])):
            begin, end = ((datetime.fromisoformat(each) - FIRST) // timedelta(minutes=1) for each in row[:2])
            busy[max(0, begin - 300) : end + 300] = True
    free = [row for row in range(2000, busy.size - 600, 1000) if not busy[row : row + 200].any()][:12]
    assert len(free) == 12
    relabelled(*(f"{moment(row)},{moment(row + 60)},Tank_Level,level_shift,3.0" for row in free))(folder)


def crude(folder: Path) -> None:
    """Anomalies that a single threshold finds: far outside of what the signal ever does."""
    tank = Machine("Tank", year=YEAR, seed=1)
    tank.signal("Tank_Level", 60 + tank.wander(6, 9), unit="%", kind="level", low=0, high=100, noise=0.2)
    tank.write(folder)
    starts = range(20_000, 500_000, 24_000)

    def change(column: np.ndarray) -> None:
        for start in starts:
            column[start : start + 240] = 99.0

    values("Tank_Level", change)(folder)
    labels(*(f"{moment(start)},{moment(start + 239)},Tank_Level,level_shift,9" for start in starts))(folder)


FAULTS: dict[str, tuple[Fault, str, str]] = {
    # name: (what is done, the check that fails, what its reason has to hold)
    "no manifest": (missing("dataset.json"), "manifest", "dataset.json is missing"),
    "manifest is no JSON": (raw("dataset.json", lambda _: b"{"), "manifest", "dataset.json"),
    "manifest of the year 1": (manifest(lambda m: m.update(year=1)), "manifest", "year"),
    "range upside down": (manifest(lambda m: m["signals"][0].update(low=9, high=1)), "manifest", "Flow.*low"),
    "signal twice": (manifest(lambda m: m["signals"].append(m["signals"][0])), "manifest", "Flow.*more than once"),
    "correlation of a stranger": (
        manifest(lambda m: m["correlations"].append({"a": "Flow", "b": "Colour", "sign": "+"})), "manifest", "Colour",
    ),
    "correlation with itself": (
        manifest(lambda m: m["correlations"].append({"a": "Flow", "b": "Flow", "sign": "+"})), "manifest", "itself",
    ),
    "no data": (missing(DATA_CSV), "files", "data.csv is missing"),
    "no labels": (missing("labels.csv"), "files", "labels.csv is missing"),
    "data behind a link": (linked(DATA_CSV), "files", "data.csv.*regular file"),
    "labels are a pipe": (pipe("labels.csv"), "files", "labels.csv is not a regular file"),
    "labels without end": (raw("labels.csv", lambda c: c * 5000), "files", "labels.csv has .* bytes"),
    "byte order mark": (raw(DATA_CSV, lambda c: b"\xef\xbb\xbf" + c), "encoding", "byte order mark"),
    "CRLF": (raw("events.csv", lambda c: c.replace(b"\n", b"\r\n")), "encoding", "events.csv.*line 1;.*LF"),
    "Latin-1": (raw("events.csv", lambda c: c + "Störung\n".encode("latin-1")), "encoding", "events.csv is not UTF-8"),
    "UTF-16": (raw(DATA_CSV, lambda c: c.decode().encode("utf-16-le")), "encoding", "NUL byte in line 1"),
    "cut off in the last line": (raw(DATA_CSV, lambda c: c[:-1]), "encoding", "may be cut off"),
    "empty file": (raw(DATA_CSV, lambda _: b""), "encoding", "data.csv is empty"),
    "a column renamed": (text(DATA_CSV, "Flow", "flow"), "header", "column Flow of dataset.json is missing"),
    "no time column": (text(DATA_CSV, "Timestamp", "Date"), "header", "'Date' instead of 'Timestamp'"),
    "columns in another order": (text(DATA_CSV, "Flow,Vibration", "Vibration,Flow"), "header", "order"),
    "semicolons": (raw(DATA_CSV, lambda c: c.replace(b",", b";")), "header", "separate columns by commas"),
    "NaN": (lines(DATA_CSV, lambda c: [*c[:101], ",".join([c[101].split(",")[0], "NaN", "1", "2", "3"]), *c[102:]]),
            "numbers", r"column Flow, row 101 \(2025-01-01 01:40:00\): 'NaN'"),
    "a gap": (lines(DATA_CSV, lambda c: [*c[:101], c[101].rsplit(",", 1)[0] + ",", *c[102:]]),
              "numbers", "column Tank_Level, row 101"),
    "text in a column": (lines(DATA_CSV, lambda c: [*c[:9], c[9].rsplit(",", 1)[0] + ",high", *c[10:]]),
                         "numbers", "'high' is not a finite number"),
    "a field too many": (lines(DATA_CSV, lambda c: [*c[:9], c[9] + ",1", *c[10:]]), "numbers", "row 9 .*6 fields"),
    "quoted": (text(DATA_CSV, "\n2025-01-01 00:03:00", '\n"2025-01-01 00:03:00"'), "numbers", "line 5.*quoted"),
    "half a year": (lines(DATA_CSV, lambda c: c[: len(c) // 2]), "timestamps", "262,799 rows up to"),
    "a missing minute": (lines(DATA_CSV, lambda c: [*c[:500], *c[501:]]), "timestamps", "row 500: 2025-01-01 08:20:00"),
    "a minute twice": (lines(DATA_CSV, lambda c: [*c[:500], c[499], *c[500:]]), "timestamps", "stands twice"),
    "another step": (lines(DATA_CSV, lambda c: c[:1] + c[1::5]), "timestamps", "row 2: 2025-01-01 00:05:00"),
    "ISO with a T": (text(DATA_CSV, "2025-01-01 00:00:00", "2025-01-01T00:00:00"), "timestamps", "row 1: .*format"),
    "another year": (raw(DATA_CSV, lambda c: c.replace(b"\n2025-", b"\n2023-")), "timestamps", "not in 2025"),
    "Parquet is not Parquet": (raw("data.parquet", lambda _: b"PAR1 nothing PAR1"), "parquet", "cannot be read"),
    "Parquet differs": (
        raw(DATA_CSV, lambda c: re.sub(rb"(\n2025-03-01 00:00:00),[^,]*", rb"\g<1>,250.5", c)),
        "parquet", r"column Flow, row 84,961 \(2025-03-01 00:00:00\): .* there, 250.5 in data.csv",
    ),
    "above its range": (values("Tank_Level", put(slice(7, 8), 100.5)), "ranges", "column Tank_Level, row 8 .*100.5"),
    "range that says nothing": (manifest(lambda m: m["signals"][3].update(low=-1e6, high=1e6)), "ranges", "Tank_Level"),
    "clipped": (values("Tank_Level", lambda c: np.clip(c, 0, 66, out=c)), "clipping", "Tank_Level.*highest value 66"),
    "frozen": (values("Tank_Level", put(slice(40_000, 41_000), 61.3)), "constant_runs",
               "Tank_Level stays at 61.3 for 1,000 minutes from row 40,001"),
    "white noise": (values("Bearing_Temperature", white), "autocorrelation", "Bearing_Temperature"),
    "wrong sign": (manifest(lambda m: m["correlations"][0].update(sign="-")), "correlations", "Flow.*Vibration"),
    "no anomalies": (labels(), "labels", "0.000% of the rows are labelled"),
    "all is anomalous": (labels(f"{moment(0)},{moment(400_000)},Flow,drift,2"), "labels", "label fewer rows"),
    "label of a stranger": (relabelled(f"{moment(9)},{moment(10)},Colour,spike,2"), "labels", "row .*'Colour'"),
    "label of another kind": (relabelled(f"{moment(9)},{moment(10)},Flow,odd,2"), "labels", "'odd' is not one of"),
    "label outside the year": (relabelled("2026-01-01 00:00:00,2026-01-01 00:01:00,Flow,spike,2"), "labels", "2026"),
    "label backwards": (relabelled(f"{moment(90)},{moment(10)},Flow,spike,2"), "labels", "before its start"),
    "severity of nothing": (relabelled(f"{moment(9)},{moment(10)},Flow,spike,nan"), "labels", "severity 'nan'"),
    "labels overlap": (
        relabelled(f"{moment(9)},{moment(30)},Flow,drift,2", f"{moment(20)},{moment(40)},Flow,drift,2"),
        "labels", "overlap on Flow",
    ),
    "labels' header": (text("labels.csv", "start", "begin"), "labels", "has to be 'start,end,signal,kind,severity'"),
    "event in words": (raw("events.csv", lambda c: c + b"yesterday,today,stop,jam\n"), "events", "'yesterday'"),
    "event of markup": (
        raw("events.csv", lambda c: c + f"{moment(1)},{moment(2)},<b>,jam\n".encode()), "events", "kind '<b>'",
    ),
    "labels without effect": (invisible, "label_effects", "level_shift on column Tank_Level.*stronger, or drop"),
    "unlabelled spike": (values("Tank_Level", add(slice(200_000, 200_001), 30)), "unlabelled_jumps",
                         r"Tank_Level, row 200,001 \(2025-05-19 21:20:00\)"),
    "unlabelled shift": (values("Tank_Level", add(slice(200_000, 201_000), -30)), "unlabelled_jumps", "Tank_Level"),
    "trivial": (crude, "triviality", "average precision"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "check", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_by_its_check(dataset, spoil, check, reason):
    spoil(dataset)

    report = check_dataset(dataset)

    assert not report.ok
    told = {each.name: each.detail for each in report.checks if not each.ok}
    assert check in told, told
    assert re.search(reason, told[check], re.DOTALL), told[check]


def test_every_check_is_seen_to_fail(good):
    assert {check for _, check, _ in FAULTS.values()} == {check.name for check in check_dataset(good).checks}


def test_checking_changes_nothing(dataset, good):
    check_dataset(dataset)

    for path in good.iterdir():
        assert (dataset / path.name).read_bytes() == path.read_bytes()


def test_stuck_labels_and_rest_explain_constant_runs(dataset):
    values("Tank_Level", put(slice(200_000, 200_700), 61.3))(dataset)
    relabelled(f"{moment(200_000)},{moment(200_699)},Tank_Level,stuck,2.0")(dataset)

    found = {check.name: check.ok for check in check_dataset(dataset).checks}

    assert found["constant_runs"]


def test_a_leap_year_has_a_day_more(tmp_path):
    m = Machine("Clock", year=2024, seed=1)
    m.signal("Level", 50 + m.wander(5, 8), unit="%", kind="level", low=0, high=100, noise=0.2)
    m.anomalies(count=12)
    m.write(tmp_path)

    report = check_dataset(tmp_path)

    assert report.failures == []
    assert any("527,040 rows" in check.detail for check in report.checks)


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_where_there_is_no_folder_there_is_nothing_to_check(tmp_path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        check_dataset(tmp_path / folder)


# ------------------------------------------------------------------------------------------------ parsers never break


CLOCK = Clock(YEAR)
FIELD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["2025-02-30 00:00:00", "2025-12-31 23:59:00", "2025-01-01 00:00:30", "Flow", "spike", "1e999"]),
)


@given(st.lists(st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD), max_size=5))
def test_labels_are_taken_or_told_never_both(rows):
    taken, problems = parse_labels(rows, NAMES, CLOCK)

    assert len(taken) <= len(rows)
    assert all(0 <= label.start <= label.end < CLOCK.rows for label in taken)
    assert len(taken) == len(rows) or problems


@given(st.lists(st.tuples(FIELD, FIELD, FIELD, FIELD), max_size=5))
def test_events_are_taken_or_told(rows):
    taken, problems = parse_events(rows, CLOCK)

    assert len(taken) == len(rows) or problems


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_reason(content):
    try:
        content.decode()
    except UnicodeDecodeError:
        return  # the encoding check has told that already
    for head in (b"", ",".join(EVENT_COLUMNS).encode() + b"\n"):
        try:
            rows = parse_rows("events.csv", head + content, EVENT_COLUMNS)
        except Unfit as reason:
            assert "events.csv" in str(reason)
        else:
            assert all(len(row) == 4 for row in rows)


def cells() -> Iterator[str]:
    yield from ("1", "-2.5", "1e3", "", "NaN", "inf", " 7", "0x10", "1_000", "１", "true", "1,2", "9" * 400)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*cells()]), st.sampled_from([*cells()])), min_size=1, max_size=6))
def test_a_table_is_finite_numbers_or_a_reason(rows):
    content = "Timestamp,A,B\n" + "".join(f"{moment(row)},{a},{b}\n" for row, (a, b) in enumerate(rows))
    try:
        table = parse_table(content.encode(), ["A", "B"])
    except Unfit as reason:
        assert str(reason)
    else:
        assert table.rows == len(rows)
        assert all(np.isfinite(column).all() for column in table.columns)
        assert [tuple(float(each) for each in row) for row in rows] == list(zip(*table.columns, strict=True))
