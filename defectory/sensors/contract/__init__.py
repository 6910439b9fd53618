"""Contract: what every dataset has to fulfil before it is called good, and readable reasons when it does not.

A failure says where, what and how to mend it: ``numbers: column Gas_Flow, row 12,001 (2025-01-09 08:00:00): 'NaN' is
not a finite number; fill gaps...``
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defectory.errors import InputError
from defectory.sensors.contract import files
from defectory.sensors.contract.anomalies import TRIVIAL, stray_steps, trivial_detectors
from defectory.sensors.contract.clock import Clock
from defectory.sensors.contract.columns import (
    clipping_problem,
    constant_run_problem,
    correlation_problem,
    memory,
    memory_problem,
    range_problem,
)
from defectory.sensors.contract.effects import CLEAR, Effect, effects, tolerable, weak
from defectory.sensors.contract.files import Table, Unfit
from defectory.sensors.contract.labels import (
    MOST_EVENTS,
    MOST_LABELS,
    Event,
    LabelledRows,
    covered,
    overlap_problems,
    parse_events,
    parse_labels,
    share_problem,
)
from defectory.sensors.dataset import (
    DATA_CSV,
    DATA_PARQUET,
    EVENT_COLUMNS,
    EVENTS_CSV,
    LABEL_COLUMNS,
    LABELS_CSV,
    MANIFEST,
    TIMESTAMP,
    CheckResult,
    Manifest,
    read_manifest,
)

__all__ = ["CheckResult", "ContractReport", "check_dataset"]

FIRST_YEAR, LAST_YEAR = 1970, 2200
MOST_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Outcome of every check that could be made.  A check that needs what another found missing is not made."""

    checks: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def failures(self) -> list[str]:
        """What is wrong, one readable line a failed check: the column, the row and what to do."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.ok]


def check_dataset(folder: Path) -> ContractReport:
    """Check the dataset in ``folder`` (see ``defectory.sensors.dataset``) against the whole contract.

    Nothing in the folder is trusted or changed; a bad dataset is reported, it never raises.

    Raises:
        InputError: there is no such folder.

    >>> report = check_dataset(next(Path("data").glob("*/")))
    >>> report.ok, report.failures
    (True, [])
    """
    if not folder.is_dir():
        raise InputError("folder", "an existing dataset folder", str(folder))
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return ContractReport(tuple(_checks(folder, pool)))


def _result(name: str, problems: Sequence[str], fact: str = "") -> CheckResult:
    shown = "; ".join(problems[:MOST_SHOWN])
    more = f"; and {len(problems) - MOST_SHOWN:,} more" if len(problems) > MOST_SHOWN else ""
    return CheckResult(name=name, ok=not problems, detail=shown + more if problems else fact)


def _checks(folder: Path, pool: Executor) -> Iterator[CheckResult]:
    manifest, problems = _read_manifest(folder)
    yield _result(
        "manifest", problems, "" if manifest is None else f"{len(manifest.signals)} signals of {manifest.year}"
    )
    if manifest is None:
        return
    clock = Clock(manifest.year)
    names = [spec.name for spec in manifest.signals]

    content, problems = _read_files(folder, files.largest_table(manifest, clock))
    yield _result("files", problems, f"{sum(map(len, content.values())):,} bytes in {len(content)} regular files")
    texts = [name for name in (DATA_CSV, LABELS_CSV, EVENTS_CSV) if name in content]
    misencoded = {name: files.encoding_problem(name, content[name]) for name in texts}
    yield _result("encoding", [problem for problem in misencoded.values() if problem], "UTF-8, no BOM, LF line ends")
    readable = {name for name in texts if not misencoded[name]}

    labels: list[LabelledRows] | None = None
    events: list[Event] | None = None
    if LABELS_CSV in readable:
        labels, check = _check_labels(content[LABELS_CSV], names, clock)
        yield check
    if EVENTS_CSV in readable:
        events, check = _check_events(content[EVENTS_CSV], clock)
        yield check

    table = None
    if DATA_CSV in readable:
        problem = files.header_problem(content[DATA_CSV], names)
        yield _result("header", [problem] if problem else [], f"{TIMESTAMP} and {len(names)} signals")
        if not problem:
            table, check = _parse_table(content[DATA_CSV], names)
            yield check
    content.pop(DATA_CSV, None)

    aligned = False
    if table is not None:
        problem = files.timestamp_problem(table.moments, clock)
        aligned = not problem
        yield _result("timestamps", [problem] if problem else [], f"every minute of {clock.year}, {clock.rows:,} rows")
    if DATA_PARQUET in content:
        problem = files.parquet_problem(content.pop(DATA_PARQUET), names, table if aligned else None, clock)
        detail = [f"{DATA_PARQUET}: {problem}"] if problem else []
        yield _result("parquet", detail, f"the same {clock.rows:,} rows as {DATA_CSV}" if aligned else "typed columns")
    if table is not None and aligned:
        yield from _check_signals(manifest, table, labels or [], clock, pool)
        if labels:
            yield from _check_anomalies(manifest, table, labels, events or [], clock, pool)


def _read_manifest(folder: Path) -> tuple[Manifest | None, list[str]]:
    try:
        files.read_regular(folder / MANIFEST, files.MAX_SMALL_FILE)
        manifest = read_manifest(folder)
    except (Unfit, InputError) as error:
        return None, [str(error)]
    problems = []
    names = [spec.name for spec in manifest.signals]
    if not FIRST_YEAR <= manifest.year <= LAST_YEAR:
        problems.append(f"year is {manifest.year}, has to be {FIRST_YEAR}..{LAST_YEAR}")
    problems += [
        f"signal {name} is declared more than once" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for spec in manifest.signals:
        if spec.name == TIMESTAMP:
            problems.append(f"a signal is called {TIMESTAMP}, which is the name of the first column; rename it")
        if not (math.isfinite(spec.low) and math.isfinite(spec.high) and spec.low < spec.high):
            problems.append(
                f"signal {spec.name}: low = {spec.low} and high = {spec.high} have to be finite, low below high"
            )
    for pair in manifest.correlations:
        unknown = [name for name in (pair.a, pair.b) if name not in names]
        if unknown:
            problems.append(f"correlations name {unknown[0]!r:.80}, which is not a signal")
        elif pair.a == pair.b:
            problems.append(f"correlations pair {pair.a} with itself")
    return (None if problems else manifest), problems


def _read_files(folder: Path, largest: int) -> tuple[dict[str, bytes], list[str]]:
    limits = {
        DATA_CSV: largest,
        DATA_PARQUET: largest,
        LABELS_CSV: files.MAX_SMALL_FILE,
        EVENTS_CSV: files.MAX_SMALL_FILE,
    }
    content, problems = {}, []
    for name, limit in limits.items():
        try:
            content[name] = files.read_regular(folder / name, limit)
        except Unfit as error:
            problems.append(str(error))
    return content, problems


def _parse_table(raw: bytes, names: Sequence[str]) -> tuple[Table | None, CheckResult]:
    try:
        table = files.parse_table(raw, names)
    except Unfit as error:
        return None, _result("numbers", [str(error)])
    return table, _result("numbers", [], f"{table.rows:,} rows of {len(names)} finite numbers")


def _check_labels(raw: bytes, names: Sequence[str], clock: Clock) -> tuple[list[LabelledRows], CheckResult]:
    try:
        rows = files.parse_rows(LABELS_CSV, raw, LABEL_COLUMNS)
    except Unfit as error:
        return [], _result("labels", [str(error)])
    if len(rows) > MOST_LABELS:
        return [], _result("labels", [f"{LABELS_CSV} has {len(rows):,} rows, at most {MOST_LABELS:,} make sense"])
    labels, problems = parse_labels(rows, names, clock)
    problems += overlap_problems(labels, names)
    if not problems and (problem := share_problem(labels, clock.rows)):
        problems.append(problem)
    share = np.count_nonzero(covered(labels, clock.rows)) / clock.rows
    return labels, _result("labels", problems, f"{len(labels)} labels on {share:.2%} of the rows")


def _check_events(raw: bytes, clock: Clock) -> tuple[list[Event], CheckResult]:
    try:
        rows = files.parse_rows(EVENTS_CSV, raw, EVENT_COLUMNS)
    except Unfit as error:
        return [], _result("events", [str(error)])
    if len(rows) > MOST_EVENTS:
        return [], _result("events", [f"{EVENTS_CSV} has {len(rows):,} rows, at most {MOST_EVENTS:,} make sense"])
    events, problems = parse_events(rows, clock)
    return events, _result("events", problems, f"{len(events)} events")


def _check_signals(
    manifest: Manifest, table: Table, labels: Sequence[LabelledRows], clock: Clock, pool: Executor
) -> Iterator[CheckResult]:
    specs, columns = manifest.signals, table.columns

    def examine(number: int) -> tuple[str, str, str, str, float]:
        spec, values = specs[number], columns[number]
        own = [label for label in labels if label.signal == number]
        remembered = memory(values)
        return (
            range_problem(spec, values, clock),
            clipping_problem(spec, values, covered(own, clock.rows), clock),
            constant_run_problem(spec, values, own, clock),
            memory_problem(spec, remembered),
            remembered,
        )

    findings = list(pool.map(examine, range(len(specs))))
    least = min(findings, key=lambda finding: finding[4])
    facts = {
        "ranges": "every value inside its signal's declared range",
        "clipping": "no signal is cut off at a limit",
        "constant_runs": "no signal freezes without a label",
        "autocorrelation": f"at least {least[4]:.2f} ({specs[findings.index(least)].name})",
    }
    for place, (name, fact) in enumerate(facts.items()):
        problems = [str(finding[place]) for finding in findings if finding[place]]
        yield _result(name, problems, fact)

    where = {spec.name: number for number, spec in enumerate(specs)}
    problems = []
    for pair in manifest.correlations:
        a, b = where[pair.a], where[pair.b]
        problems.append(correlation_problem(pair, columns[a], columns[b], (specs[a], specs[b])))
    count = len(manifest.correlations)
    yield _result("correlations", [problem for problem in problems if problem], f"{count} declared signs found")


def _check_anomalies(
    manifest: Manifest,
    table: Table,
    labels: Sequence[LabelledRows],
    events: Sequence[Event],
    clock: Clock,
    pool: Executor,
) -> Iterator[CheckResult]:
    reached = pool.submit(trivial_detectors, table.columns, labels)
    label_effects = effects(table.columns, labels, events, pool)
    faint = sorted(weak(label_effects), key=lambda effect: effect.strength)
    problems = [] if tolerable(faint, len(label_effects)) else [_explain(effect, manifest, clock) for effect in faint]
    unclear = f", {len(faint)} of them faintly" if faint else ""
    yield _result("label_effects", problems, f"all {len(label_effects)} labels show in the data{unclear}")

    stray = stray_steps(manifest.signals, table.columns, labels, events, clock, pool)
    yield _result("unlabelled_jumps", stray, "every step recurs, is labelled, or has an event beside it")

    precision = reached.result()
    problems = [
        f"{detector} finds the labelled rows with average precision {value:.2f}, at most {TRIVIAL:g} is allowed; make "
        "anomalies that stay within what the signals do in operation"
        for detector, value in precision.items() if value > TRIVIAL
    ]  # fmt: skip
    best = max(precision, key=lambda detector: precision[detector])
    yield _result("triviality", problems, f"{best} reaches an average precision of {precision[best]:.2f}")


def _explain(effect: Effect, manifest: Manifest, clock: Clock) -> str:
    label = effect.label
    return (
        f"{LABELS_CSV} row {label.number:,}: {label.kind} on column {manifest.signals[label.signal].name}, rows "
        f"{label.start + 1:,}-{label.end + 1:,} (from {clock.text(label.start)}): {effect.strength:.1f} times what "
        f"ordinary windows stay under, a clear label has {CLEAR:g}; make the anomaly stronger, or drop the label"
    )
