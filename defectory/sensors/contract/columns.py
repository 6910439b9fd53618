"""Columns: does each signal look like what a sensor of its kind reports?

Thresholds come from two sources.  Real traces: NAB's machine temperature (every 5 minutes) and the fault-free Tennessee
Eastman process (every 3 minutes).  And honest simulations: the catalogue's machines.  Sampling every minute only makes
neighbouring values more alike, so what slower real traces reach is a lower bound here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defectory.sensors.contract.clock import Clock
from defectory.sensors.contract.files import Column
from defectory.sensors.contract.labels import LabelledRows, covered
from defectory.sensors.dataset import Correlation, SignalSpec

EXACT_KINDS = frozenset({"state", "count"})

# Share of the declared range that a measured signal has to use: less, and the range says nothing.
LEAST_SPAN = 0.001
MOST_CLIPPED = 0.005

LONGEST_CONSTANT_RUN = 6 * 60
REST = 0.004  # share of the declared range within which a signal is at rest, at 0 or at its low
LONG_RUN = 30
RUN_RATIO, RUN_RANK = 3.0, 20

# Highest autocorrelation at a lag of 1 minute to 4 hours, within days: white noise has 0.01.  Quantities with stored
# energy or mass: NAB 0.995 at 5 minutes; Tennessee Eastman at 3 minutes 0.95 (pressure), 0.45-0.92 (concentration),
# 0.22-0.99 (temperature; 0.22 there means 0.6 a minute apart); catalogue >= 0.66.  Other quantities: Tennessee Eastman
# has tightly controlled flows and levels with as little as 0.07, catalogue >= 0.57.
LEAST_MEMORY = {"temperature": 0.4, "humidity": 0.4, "concentration": 0.4, "pressure": 0.3, "power": 0.15}
LEAST_MEMORY_ELSE = 0.05
_DAYS, _LONGEST_LAG = 48, 240

LEAST_CORRELATION = 0.05


def range_problem(spec: SignalSpec, values: Column, clock: Clock) -> str:
    """Values beyond the declared range, or a range far wider than anything that happens in it."""
    low, high = float(values.min()), float(values.max())
    for bad, row, side in (
        (low < spec.low, int(values.argmin()), f"below low = {spec.low:g}"),
        (high > spec.high, int(values.argmax()), f"above high = {spec.high:g}"),
    ):
        if bad:
            return (
                f"column {spec.name}, {clock.place(row)}: {values[row]:g} is {side}; clip it or declare a wider range"
            )
    if spec.kind not in EXACT_KINDS and high - low < LEAST_SPAN * (spec.high - spec.low):
        return (
            f"column {spec.name} stays between {low:g} and {high:g}, under {LEAST_SPAN:.1%} of the declared range "
            f"{spec.low:g}..{spec.high:g}; declare the sensor's real range, or let the signal vary"
        )
    return ""


def clipping_problem(spec: SignalSpec, values: Column, faulty: np.ndarray, clock: Clock) -> str:
    """Too many rows at the highest or lowest value outside ``faulty`` rows: the signal was cut off there.

    The least value may be 0 or the declared low as often as it likes: there a signal rests while its machine does.
    """
    if spec.kind in EXACT_KINDS:
        return ""
    for limit, side in ((float(values.max()), "highest"), (float(values.min()), "lowest")):
        if side == "lowest" and limit in (0.0, spec.low):
            continue
        at = (values == limit) & ~faulty
        count = np.count_nonzero(at)
        if count <= MOST_CLIPPED * values.size:
            continue
        # A coarse sensor has many rows at its extreme too, but then even more on the step before it.
        others = values[values != limit]
        if (
            others.size
            and np.count_nonzero(others == (others.max() if side == "highest" else others.min())) > count / 3
        ):
            continue
        return (
            f"column {spec.name}: {count / values.size:.1%} of all rows are at its {side} value {limit:g}, first "
            f"{clock.place(int(at.argmax()))}; scale the signal to stay inside its range instead of clipping it "
            f"(at most {MOST_CLIPPED:.1%}, rest at 0 or low aside)"
        )
    return ""


def constant_run_problem(spec: SignalSpec, values: Column, labels: Sequence[LabelledRows], clock: Clock) -> str:
    """The longest run of one and the same value that no label, no rest and no coarse resolution explains."""
    if spec.kind in EXACT_KINDS:
        return ""
    if not _may_freeze(spec, values):
        return ""
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    lengths = np.diff(ends, prepend=-1)
    starts = ends - lengths + 1
    held = [label for label in labels if label.kind in {"stuck", "dropout"}]
    labelled = np.append(0, np.cumsum(covered(held, values.size, before=1, after=1)))
    held_at = values[starts]
    near = max(1.01 * (spec.resolution or 0.0), REST * (spec.high - spec.low))  # the tail of a decay rests a step above
    unexplained = (lengths > LONG_RUN) & (np.abs(held_at) > near) & (np.abs(held_at - spec.low) > near)
    unexplained &= labelled[ends + 1] == labelled[starts]
    free = np.flatnonzero(unexplained)
    if not free.size:
        return ""
    run = int(free[lengths[free].argmax()])
    length = int(lengths[run])
    ordinary = int(np.sort(lengths[free])[-RUN_RANK]) if free.size >= RUN_RANK else 0
    if length <= LONGEST_CONSTANT_RUN and length <= RUN_RATIO * max(ordinary, LONG_RUN):
        return ""
    return (
        f"column {spec.name} stays at {values[starts[run]]:g} for {length:,} minutes from "
        f"{clock.place(int(starts[run]))}; add noise, or label it as stuck (rest is 0 or the declared low)"
    )


def _may_freeze(spec: SignalSpec, values: Column) -> bool:
    """Quickly rule out runs longer than ``LONG_RUN``: such a run fills one of the blocks of half that length."""
    half = LONG_RUN // 2
    blocks = values[: values.size // half * half].reshape(-1, half)
    first = blocks[:, 0]
    candidates = np.flatnonzero((first == blocks[:, -1]) & (first != 0) & (first != spec.low))
    return bool((blocks[candidates] == first[candidates, None]).all(axis=1).any())


def memory(values: Column) -> float:
    """Highest autocorrelation at a lag of 1 to 240 minutes, averaged over 48 days spread over the year.

    One number for slow drifts and for fast recipes: a minute-long pulse has no lag-1 autocorrelation, but it recurs.
    """
    day = 1440
    starts = np.linspace(0, values.size - day, _DAYS).astype(int)
    days = values[starts[:, None] + np.arange(day)]
    days -= days.mean(axis=1, keepdims=True)
    power = np.fft.rfft(days, 1728, axis=1)  # 1728 > 1440 + 240: no wrap-around within the lags looked at
    auto = np.fft.irfft((power.real**2 + power.imag**2).sum(axis=0), 1728)[: _LONGEST_LAG + 1]
    return float(auto[1:].max() / auto[0]) if auto[0] > 0 else 1.0


def memory_problem(spec: SignalSpec, value: float) -> str:
    """Too little ``memory`` for the kind of signal: noise instead of a physical quantity."""
    least = LEAST_MEMORY.get(spec.kind, LEAST_MEMORY_ELSE)
    if spec.kind in EXACT_KINDS or value >= least:
        return ""
    return (
        f"column {spec.name}: autocorrelation {value:.2f} at best (lags 1..{_LONGEST_LAG}), a {spec.kind} has at least "
        f"{least:g}; let it follow the machine's operation, with noise that remembers its last value (AR(1))"
    )


def correlation_problem(pair: Correlation, a: Column, b: Column, ranges: tuple[SignalSpec, SignalSpec]) -> str:
    """A declared sign that is found neither over all rows nor over those where both signals are away from rest."""
    sign = 1.0 if pair.sign == "+" else -1.0
    everywhere = sign * _correlation(a, b)
    if everywhere >= LEAST_CORRELATION:
        return ""
    active = np.ones(a.size, bool)
    for spec, values in zip(ranges, (a, b), strict=True):
        for rest in {0.0, spec.low}:
            active &= np.abs(values - rest) > 0.01 * (spec.high - spec.low)
    running = sign * _correlation(a[active], b[active]) if np.count_nonzero(active) > a.size / 50 else everywhere
    if running >= LEAST_CORRELATION:
        return ""
    return (
        f"columns {pair.a} and {pair.b}: declared {pair.sign!r}, found r = {sign * everywhere:+.2f} over all rows and "
        f"{sign * running:+.2f} while running; couple the signals as declared, or correct the declared sign"
    )


def _correlation(a: Column, b: Column) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
