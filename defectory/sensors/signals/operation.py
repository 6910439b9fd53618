"""Operation: when a machine runs, when it stops, and how it wears; the calendar of one year in minutes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from defectory.sensors.arrays import RowMask

Spans = list[tuple[int, int]]

MINUTES_PER_DAY = 1440


def minutes_in(year: int) -> int:
    """Minutes of calendar ``year``: 525,600 or, in a leap year, 527,040."""
    first, last = np.datetime64(f"{year:04d}", "Y"), np.datetime64(f"{year + 1:04d}", "Y")
    return int((last.astype("datetime64[m]") - first.astype("datetime64[m]")) / np.timedelta64(1, "m"))


def weekday_of_first_day(year: int) -> int:
    """Weekday of January 1st, Monday = 0."""
    return int((np.datetime64(f"{year:04d}-01-01", "D").astype(np.int64) + 3) % 7)


def shift_calendar(
    year: int,
    n: int,
    rng: np.random.Generator,
    per_day: int,
    days: int,
    start_hour: float,
    hours: float,
    shutdown: bool,
) -> RowMask:
    """Operated minutes: ``per_day`` shifts of ``hours`` from ``start_hour`` on the first ``days`` days of each week.

    Crews are not clocks: start and end vary by a few minutes.  With ``shutdown`` the plant rests from December 24th to
    January 1st and for two weeks in August.
    """
    on = np.zeros(n, bool)
    if per_day * hours >= 24 and days >= 7:
        on[:] = True
    else:
        length = min(per_day * hours, 24.0) * 60
        first = weekday_of_first_day(year)
        total = n // MINUTES_PER_DAY
        continuous = per_day * hours >= 24
        for day in range(-1, total):
            if (day + first) % 7 >= days:
                continue
            begin = day * MINUTES_PER_DAY + start_hour * 60
            late, early = rng.integers(-4, 9), rng.integers(-9, 5)
            end = begin + length
            on[max(0, int(begin + (0 if continuous else late))) : max(0, int(end + (0 if continuous else early)))] = (
                True
            )
    if shutdown:
        on[:MINUTES_PER_DAY] = False
        on[n - 8 * MINUTES_PER_DAY :] = False
        august = int((np.datetime64(f"{year}-08-04", "D") - np.datetime64(f"{year}-01-01", "D")).astype(int))
        august -= (august + weekday_of_first_day(year)) % 7
        on[august * MINUTES_PER_DAY : (august + 14) * MINUTES_PER_DAY] = False
    return on


def random_stops(on: RowMask, rng: np.random.Generator, per_week: float, minutes: float) -> Spans:
    """Short stops (lognormal length, mean ``minutes``) at random operated minutes; ``on`` is cleared there."""
    running = np.flatnonzero(on)
    count = int(rng.poisson(per_week * on.size / (7 * MINUTES_PER_DAY))) if running.size else 0
    spans: Spans = []
    for begin in np.sort(rng.choice(running, count)).tolist():
        length = max(1, int(rng.lognormal(math.log(minutes) - 0.32, 0.8)))
        if on[begin]:
            spans.append((begin, min(on.size, begin + length)))
            on[begin : begin + length] = False
    return spans


def wear_cycle(
    on: RowMask, rng: np.random.Generator, every_hours: float, minutes: float, exponent: float
) -> tuple[NDArray[np.float64], Spans]:
    """Wear from 0 (as new) to about 1 (due), growing with operated time and reset by each maintenance.

    The machine stands still during maintenance: ``on`` is cleared there.  Returns wear, shape ``(n,)``, and the spans.
    """
    spans: Spans = []
    operated = np.cumsum(on) / 60.0
    due = every_hours * rng.uniform(0.15, 0.85)
    while True:
        position = int(np.searchsorted(operated, due))
        if position >= on.size:
            break
        length = max(2, int(minutes * rng.uniform(0.75, 1.35)))
        end = min(on.size, position + length)
        spans.append((position, end))
        on[position:end] = False
        operated = np.cumsum(on) / 60.0
        due = operated[end - 1] + every_hours * rng.uniform(0.85, 1.12)
    age = operated.copy()
    start = every_hours * rng.uniform(0.2, 0.6) if not spans else max(0.0, every_hours - operated[spans[0][0]])
    age += start
    for begin, end in spans:
        age[end:] = operated[end:] - operated[end - 1]
        age[begin:end] = age[begin]
    return np.minimum(age / every_hours, 1.25) ** exponent, spans


def failure_ramps(
    on: RowMask, rng: np.random.Generator, hours: float, count: int, repair_minutes: float, busy: RowMask
) -> tuple[NDArray[np.float64], Spans, Spans]:
    """Degradation from 0 to 1 over the last ``hours`` before each breakdown, then standstill for the repair.

    ``busy`` marks minutes that other failures use already.  Returns the ramp and the spans of degradation and repair.
    """
    n = on.size
    ramp = np.zeros(n)
    degrading: Spans = []
    repairs: Spans = []
    length = int(hours * 60)
    for number in range(count):
        low, high = int(n * (number + 0.08) / count), int(n * (number + 0.92) / count)
        for _ in range(40):
            end = int(rng.integers(max(low, length + MINUTES_PER_DAY), max(high, length + MINUTES_PER_DAY + 1)))
            begin, repaired = end - length, min(n, end + int(repair_minutes * rng.uniform(0.8, 1.4)))
            if end + 60 >= n or not on[end - 15 : end].all() or busy[max(0, begin - 720) : repaired + 720].any():
                continue
            progress = np.cumsum(on[begin:end]) / max(1, int(on[begin:end].sum()))
            ramp[begin:end] = progress ** rng.uniform(1.8, 2.8)
            busy[begin:repaired] = True
            on[end:repaired] = False
            degrading.append((begin, end))
            repairs.append((end, repaired))
            break
    return ramp, degrading, repairs
