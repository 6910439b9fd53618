"""Anomalies as a whole: none without a label, and not so crude that one line of code finds them all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from defectory.sensors.arrays import RowMask
from defectory.sensors.contract.clock import Clock
from defectory.sensors.contract.columns import EXACT_KINDS
from defectory.sensors.contract.files import Column
from defectory.sensors.contract.labels import Event, LabelledRows, covered
from defectory.sensors.dataset import SignalSpec

# A step of operation recurs: shift starts, recipe steps and campaign changes come dozens of times a year.  A step is
# a stray one when it is more than JUMP_ALONE times the 24th largest of its signal and nothing else moves at that
# minute, or more than JUMP_TOGETHER times even though something does.  Catalogue: at most 1.5 alone, 2.4 together.
# When WHOLE_MACHINE of the other signals move, the machine was started or stopped, however seldom it is.
RECURRING = 24
JUMP_ALONE, JUMP_TOGETHER, WHOLE_MACHINE = 2.0, 5.0, 1 / 3
LONGEST_STANDSTILL = 3 * 1440  # minutes; a longer event explains what happens at its edges only
TRIVIAL = 0.6
_SAMPLE = 7  # every seventh row tells quantiles well enough


def stray_steps(
    specs: Sequence[SignalSpec],
    columns: Sequence[Column],
    labels: Sequence[LabelledRows],
    events: Sequence[Event],
    clock: Clock,
    pool: Executor,
) -> list[str]:
    """Steps and spikes of single signals that neither recur nor are labelled nor are near an event."""
    quiet = ~_near_events(events, clock.rows)
    explained = _standing_still(events, clock.rows)
    moving = list(pool.map(_moving, columns))

    def examine(number: int) -> str:
        spec, values = specs[number], columns[number]
        if spec.kind in EXACT_KINDS:
            return ""
        own = [label for label in labels if label.signal == number]
        eligible = quiet & ~covered(own, clock.rows, before=3, after=3)
        other_moves = [rows for place, rows in enumerate(moving) if place != number]
        row = _stray(values, eligible, explained, other_moves, spec.resolution or 0.0)
        if row is None:
            return ""
        return (
            f"column {spec.name}, {clock.place(row)}: a step from {values[row - 1]:g} to {values[row]:g} that nothing "
            "explains; label it in labels.csv, log its cause in events.csv, or remove it"
        )

    return [problem for problem in pool.map(examine, range(len(specs))) if problem]


def _near_events(events: Sequence[Event], rows: int) -> RowMask:
    """Minutes around the start and the end of an event, when a machine is stopped, started and warmed up."""
    edges = [Event(row, row, event.kind) for event in events for row in (event.start, event.end)]
    return covered(edges, rows, before=15, after=30)


def _standing_still(events: Sequence[Event], rows: int) -> RowMask:
    """Minutes within events, when fans and pumps are switched off in their own time."""
    return covered([event for event in events if event.end - event.start <= LONGEST_STANDSTILL], rows)


def _moving(values: Column) -> RowMask:
    """Minutes in which a signal takes a step well beyond its noise, give or take two."""
    step = np.abs(np.diff(values, prepend=values[0]))
    sample = step[::_SAMPLE]
    sample = sample[sample > 0]
    limit = 5.0 * 1.4826 * float(np.median(sample)) if sample.size else np.inf
    rows = np.flatnonzero(step > limit)
    moving = np.zeros(step.size, bool)
    for offset in range(-2, 3):
        moving[np.clip(rows + offset, 0, step.size - 1)] = True
    return moving


def _stray(
    values: Column, eligible: RowMask, explained: RowMask, other_moves: Sequence[RowMask], resolution: float
) -> int | None:
    """A row with a stray step or spike, if there is one; ``other_moves`` tells when the other signals move."""
    change = np.diff(values, prepend=values[0])
    step = np.abs(change)
    back = np.zeros_like(step)
    np.minimum(step[:-1], step[1:], out=back[:-1], where=change[:-1] * change[1:] < 0)
    for sizes, together in ((step, JUMP_TOGETHER), (back, np.inf)):
        sizes *= eligible
        ordinary = float(np.quantile(sizes[::_SAMPLE], 0.99))
        large = np.flatnonzero(sizes > ordinary)
        if large.size <= RECURRING:
            large = np.flatnonzero(sizes)
        large_sizes = sizes[large]
        recurring = float(np.partition(large_sizes, -RECURRING)[-RECURRING]) if large.size >= RECURRING else 0.0
        least = max(JUMP_ALONE * recurring, 3.0 * ordinary, 4.0 * resolution)
        for row in large[(large_sizes > least) & (large > 0)].tolist():
            if explained[row]:
                continue
            if sizes is back and back[row] <= 2 * max(step[row - 1 : row + 3 : 3], default=0.0):
                continue  # what rises and falls for longer is a hump, not a spike
            moving = sum(bool(moves[row]) for moves in other_moves)
            if not moving or (
                sizes[row] > together * max(recurring, resolution) and moving < WHOLE_MACHINE * len(other_moves)
            ):
                return int(row)
    return None


def average_precision(scores: NDArray[np.float32], labelled: RowMask) -> float:
    """Mean precision of thresholds at the scores of the rows ``labelled``; equal scores alarm together."""
    hits = np.sort(scores[labelled])
    if not hits.size:
        return 0.0
    true_alarms = hits.size - np.searchsorted(hits, hits, "left")
    alarms = scores.size - np.searchsorted(np.sort(scores), hits, "left")
    return float((true_alarms / alarms).mean())


def trivial_detectors(columns: Sequence[Column], labels: Sequence[LabelledRows]) -> dict[str, float]:
    """Average precision of the two detectors everybody tries first: largest |z|, and largest |step|, of all signals."""
    rows = columns[0].size
    labelled = covered(labels, rows)
    far, fast = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    for values in columns:
        deviation = float(values.std()) or 1.0
        scaled = ((values - values.mean()) / deviation).astype(np.float32)
        np.maximum(fast[1:], np.abs(np.diff(scaled)), out=fast[1:])
        np.maximum(far, np.abs(scaled), out=far)
    return {
        "a threshold on |z|": average_precision(far, labelled),
        "a threshold on |step|": average_precision(fast, labelled),
    }
