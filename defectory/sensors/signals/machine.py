"""The machine: a year of minutes, how it is operated, its signals, their anomalies, and the files they become."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from defectory.sensors.arrays import RowMask
from defectory.sensors.signals import operation
from defectory.sensors.signals.anomalies import WINDOWS, FaultLabel, Variation, deviation, effect_is_real
from defectory.sensors.signals.dynamics import Array, autoregressive, ewm, generator, lag, measurement_noise, piecewise
from defectory.sensors.signals.kinds import EXACT_KINDS, NOISE_MEMORY, REST
from defectory.sensors.signals.operation import MINUTES_PER_DAY
from defectory.sensors.signals.recipe import Recipe, Step, schedule_batches
from defectory.sensors.signals.writer import write_declaration, write_events, write_labels, write_tables


class Machine:
    """One machine over one calendar year, one value a minute.

    Call in this order: operation (``shifts``, ``stops``, ``maintenance``, ``failure``), then production (``recipe``,
    ``campaigns``, ``demand``, ``cycle``), then ``signal`` for each column, then ``anomalies``, then ``write``.
    Everything returned is a float array of shape ``(n,)``, so signals are ordinary NumPy expressions.

    Args:
        name: the machine's name, as it stands in the manifest.
        year: calendar year, 1970-2200.
        seed: the same seed gives the same bytes.
        description: one sentence for the manifest.

    >>> oven = Machine("Reflow Oven", year=2025, seed=7)
    >>> oven.shifts(per_day=2, days=5, start_hour=6)
    >>> heat = oven.lag(oven.on * 240, minutes=18, falling=55)
    >>> heat.shape
    (525600,)
    """

    def __init__(self, name: str, *, year: int = 2025, seed: int = 1, description: str = "") -> None:
        if not 1970 <= year <= 2200:
            raise ValueError(f"Machine: year must be 1970..2200, got {year}")
        self.name, self.year, self.seed, self.description = name, year, seed, description
        self.n = operation.minutes_in(year)
        self._on = np.ones(self.n, bool)
        self._busy = np.zeros(self.n, bool)
        self._on_is_final = False
        self._events: list[tuple[int, int, str, str]] = []
        self._effects: list[tuple[str, dict[str, float], Array, list[tuple[int, int]]]] = []
        self._columns: dict[str, Array] = {}
        self._specs: dict[str, dict[str, object]] = {}
        self._variations: dict[str, Variation] = {}
        self._labels: list[FaultLabel] = []
        self._correlations: list[dict[str, str]] = []

    # ---------------------------------------------------------------- operation

    @property
    def on(self) -> Array:
        """1.0 while the machine is operated, 0.0 while it stands still."""
        self._on_is_final = True
        return self._on.astype(np.float64)

    def shifts(
        self, per_day: int = 3, days: int = 7, start_hour: float = 6, hours: float = 8, shutdown: bool = False
    ) -> None:
        """Operate in ``per_day`` shifts of ``hours`` from ``start_hour``, on the first ``days`` days of each week.

        The default runs around the clock.  ``shutdown`` adds a summer and a Christmas break.
        """
        self._still_open("shifts")
        rng = generator(self.seed, "shifts")
        self._on &= operation.shift_calendar(self.year, self.n, rng, per_day, days, start_hour, hours, shutdown)
        if not (per_day * hours >= 24 and days >= 7):
            self._log_standstills("planned_stop", "outside shifts", at_least=6 * 60)

    def stops(self, per_week: float = 4, minutes: float = 12, name: str = "short stop") -> None:
        """Random short stops: ``per_week`` on average, lasting ``minutes`` on average (lognormal)."""
        self._still_open("stops")
        rng = generator(self.seed, "stops", name)
        for begin, end in operation.random_stops(self._on, rng, per_week, minutes):
            self._events.append((begin, end - 1, "stop", name))

    def maintenance(self, name: str, every_hours: float, minutes: float, exponent: float = 1.4) -> Array:
        """Wear from 0 (as new) to about 1 (due), reset by maintenance after every ``every_hours`` of operation.

        The machine stands still for about ``minutes`` each time.  Multiply wear into the signals it shows in.
        """
        self._still_open("maintenance")
        rng = generator(self.seed, "maintenance", name)
        wear, spans = operation.wear_cycle(self._on, rng, every_hours, minutes, exponent)
        self._events += [(begin, end - 1, "maintenance", name) for begin, end in spans]
        for begin, end in spans:
            self._busy[max(0, begin - 30) : end + 30] = True
        return wear

    def failure(
        self, name: str, effects: dict[str, float], hours: float = 48, count: int = 2, repair_minutes: float = 240
    ) -> Array:
        """A failure that announces itself in several signals before the machine breaks down, ``count`` times a year.

        Args:
            name: what fails, e.g. ``"spindle bearing"``.
            effects: signal name -> deviation at breakdown, in that signal's own normal deviations (sensible: 2..8,
                negative for a fall).  Each becomes a ``precursor`` label.
            hours: how long the degradation takes.
            repair_minutes: standstill after the breakdown.

        Returns:
            Degradation 0..1, for effects beyond those named.
        """
        self._still_open("failure")
        if not effects:
            raise ValueError(f"failure {name!r}: name at least one signal in effects")
        rng = generator(self.seed, "failure", name)
        ramp, degrading, repairs = operation.failure_ramps(self._on, rng, hours, count, repair_minutes, self._busy)
        self._events += [(begin, end - 1, "failure", name) for begin, end in repairs]
        self._effects.append((name, dict(effects), ramp, degrading))
        return ramp

    # ---------------------------------------------------------------- production

    def recipe(self, *steps: Step, gap: float = 2, products: int = 1) -> Recipe:
        """Run batches of ``steps`` while the machine is operated, ``gap`` minutes apart, for ``products`` products."""
        if not steps:
            raise ValueError("recipe: give at least one Step(name, minutes)")
        self._on_is_final = True
        tag = "-".join(step.name for step in steps)
        return schedule_batches(steps, self._on, gap, products, generator(self.seed, "recipe", tag))

    def campaigns(self, levels: list[float], hours: float) -> Array:
        """One of ``levels`` at a time, changing after ``hours`` on average: orders, grades, setpoints."""
        rng = generator(self.seed, "campaigns", repr(levels))
        span = piecewise(rng, self.n, hours * 60)
        picks = rng.integers(0, len(levels), int(span[-1]) + 1)
        return np.asarray(np.array(levels, dtype=np.float64)[picks[span]])

    def demand(self, mean: float = 0.85, spread: float = 0.08, hours: float = 12) -> Array:
        """Slowly varying load around ``mean``, at least 0: standard deviation ``spread``, memory of ``hours``."""
        rng = generator(self.seed, "demand", f"{mean}/{spread}/{hours}")
        memory = math.exp(-1.0 / (hours * 60))
        wave = autoregressive(rng, self.n, memory, spread)
        return np.maximum(0.0, mean + ewm(wave, 1.0 / 15.0))

    def cycle(self, minutes: float, spread: float = 0.1) -> Array:
        """Sawtooth 0..1 that advances while the machine runs: filling and emptying, filter loading, a stroke."""
        self._on_is_final = True
        rng = generator(self.seed, "cycle", f"{minutes}")
        span = piecewise(rng, self.n, minutes) if spread >= 0.4 else None
        if span is not None:
            starts = np.flatnonzero(np.diff(span, prepend=-1))
            lengths = np.diff(np.append(starts, self.n))
            return np.asarray((np.arange(self.n) - starts[span]) / lengths[span])
        wobble = 1.0 + spread * autoregressive(rng, self.n, 0.995, 1.0).clip(-2.5, 2.5)
        return np.asarray(np.cumsum(self._on * wobble / minutes) % 1.0)

    def parts(self, per_minute: ArrayLike) -> Array:
        """Whole parts finished in each minute at the rate ``per_minute`` (an array or a number); use kind ``count``."""
        total = np.floor(np.cumsum(np.broadcast_to(np.asarray(per_minute, np.float64), self.n) * self.on))
        return np.diff(total, prepend=0.0)

    # ---------------------------------------------------------------- environment and dynamics

    def ambient(self, mean: float = 22, seasonal: float = 4, daily: float = 2) -> Array:
        """Surrounding temperature: warmest in late July at about 15:30, plus weather that lasts days."""
        rng = generator(self.seed, "ambient")
        minute = np.arange(MINUTES_PER_DAY)
        day = np.arange(self.n // MINUTES_PER_DAY)
        year = -seasonal * np.cos(2 * np.pi * (day - 25) / 365.25)
        clock = daily * np.sin(2 * np.pi * (minute - 570) / MINUTES_PER_DAY)
        cloud = 1.0 + 0.35 * rng.standard_normal(day.size).clip(-2, 2)
        weather = autoregressive(rng, self.n, math.exp(-1 / 3000), 0.25 * (abs(seasonal) + abs(daily)))
        daily_wave = ewm((cloud[:, None] * clock[None, :]).ravel(), 1.0 / 45.0)
        return np.asarray(mean + np.repeat(year, MINUTES_PER_DAY) + daily_wave + ewm(weather, 1.0 / 60.0))

    def lag(self, values: ArrayLike, minutes: float, falling: float | None = None) -> Array:
        """First-order response, time constant ``minutes`` (``falling`` on the way down): heating, cooling, inertia."""
        return lag(np.asarray(np.broadcast_to(np.asarray(values, np.float64), self.n)), minutes, falling)

    def settle(self, setpoint: ArrayLike, minutes: float, overshoot: float = 0.1) -> Array:
        """A controlled value following ``setpoint``: fast, with an overshoot (0.1 = 10 %) that dies away."""
        quick, slow = self.lag(setpoint, minutes / 2), self.lag(setpoint, minutes * 1.5)
        return np.asarray(quick + 2.2 * overshoot * (quick - slow))

    def wander(self, deviation: float, hours: float = 72, tag: str = "") -> Array:
        """A slow random walk around 0 with standard deviation ``deviation``: raw material, calibration, fouling."""
        rng = generator(self.seed, "wander", tag, f"{deviation}/{hours}")
        return autoregressive(rng, self.n, math.exp(-1.0 / (hours * 60)), deviation)

    # ---------------------------------------------------------------- signals

    def signal(
        self, name: str, values: ArrayLike, *, unit: str, kind: str, low: float, high: float,
        noise: float | None = None, resolution: float | None = None, description: str = "",
    ) -> Array:  # fmt: skip
        """Add a column: ``values`` plus the noise of its ``kind``, quantised to ``resolution``, clipped to the range.

        Args:
            name: column name, a letter and then letters, digits and ``_``, e.g. ``"Spindle_Speed"``.
            kind: temperature, pressure, flow, level, speed, current, voltage, power, vibration, torque, force,
                position, humidity, concentration; or count and state, which carry neither noise nor anomalies.
            low, high: the sensor's range; choose it wider than the values, saturation is a fault.
            noise: standard deviation of the noise while running; 0.4 % of the range when None.
            resolution: smallest step of the sensor; when None a power of ten, about a ten-thousandth of the range.

        Returns:
            The finished column, for use in signals that depend on it.
        """
        self._on_is_final = True
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
            raise ValueError(f"signal: name must be a letter, then letters, digits or _, at most 64; got {name!r}")
        if name in self._columns or name == "Timestamp":
            raise ValueError(f"signal: {name!r} is already a column")
        if kind not in NOISE_MEMORY:
            raise ValueError(f"signal {name}: kind must be one of {', '.join(NOISE_MEMORY)}; got {kind!r}")
        if not low < high:
            raise ValueError(f"signal {name}: low must be below high, got {low} and {high}")
        exact = kind in EXACT_KINDS
        if resolution is None:
            resolution = 1.0 if exact else 10.0 ** math.floor(math.log10((high - low) / 5_000))
        deviation = 0.0 if exact else 0.004 * (high - low) if noise is None else noise
        column = np.array(np.broadcast_to(np.asarray(values, np.float64), self.n))
        if not np.isfinite(column).all():
            raise ValueError(f"signal {name}: the values hold NaN or infinity")
        if not exact:
            variation = Variation.of(column, self._on, deviation, resolution)
            self._variations[name] = variation
            # At rest a sensor of a physical zero (flow, speed, current) is all but silent, and shows no wear either.
            rest = column < REST * (high - low) if low >= 0 else np.zeros(self.n, bool)
            for _, effects, ramp, degrading in self._effects:
                self._degrade(name, column, effects.get(name, 0.0), ramp, degrading, self._on & ~rest, variation)
            rng = generator(self.seed, "noise", name)
            noise_column = measurement_noise(rng, self.n, NOISE_MEMORY[kind], deviation)
            np.multiply(noise_column, 0.08, out=noise_column, where=rest)
            column += noise_column
        self._columns[name] = self._sense(column, low, high, resolution)
        self._specs[name] = {
            "name": name, "unit": unit, "kind": kind, "low": float(low), "high": float(high),
            "resolution": resolution, "description": description,
        }  # fmt: skip
        return self._columns[name]

    def correlated(self, a: str, b: str, sign: str) -> None:
        """Declare that ``a`` and ``b`` rise together (``"+"``) or one against the other (``"-"``); it is checked."""
        for name in (a, b):
            if name not in self._columns:
                raise ValueError(f"correlated: {name!r} is not a signal of this machine")
        if sign not in {"+", "-"}:
            raise ValueError(f"correlated: sign must be '+' or '-', got {sign!r}")
        self._correlations.append({"a": a, "b": b, "sign": sign})

    # ---------------------------------------------------------------- anomalies

    def anomalies(self, count: int = 24, kinds: list[str] | None = None) -> None:
        """Put ``count`` labelled anomalies into the signals, at random times of undisturbed operation.

        Args:
            count: 1..400; fewer are placed when the year has no room left.
            kinds: out of spike, level_shift, drift, stuck, noise_burst, oscillation, dropout; all when None.
        """
        allowed_kinds = list(WINDOWS) if kinds is None else list(kinds)
        unknown = sorted(set(allowed_kinds) - set(WINDOWS))
        if unknown:
            raise ValueError(f"anomalies: unknown kind {unknown[0]!r}; known are {', '.join(WINDOWS)}")
        if not 1 <= count <= 400:
            raise ValueError(f"anomalies: count must be 1..400, got {count}")
        rng = generator(self.seed, "anomalies")
        names = list(self._variations)
        if not names:
            raise ValueError("anomalies: add signals first")
        blocked = self._busy.copy()
        for begin, end, kind, _ in self._events:
            if kind != "planned_stop":
                blocked[max(0, begin - 20) : end + 40] = True
        running = np.concatenate([[0], np.cumsum(self._on & ~blocked)])
        order = [names[i] for i in rng.permutation(len(names))]
        for number in range(count):
            kind = allowed_kinds[number % len(allowed_kinds)]
            for attempt in range(60):
                name = order[(number + attempt) % len(order)]
                shortest, longest = WINDOWS[kind]
                length = int(rng.integers(shortest, longest + 1))
                if attempt > 20:
                    length = shortest
                begin = int(rng.integers(90, self.n - length - 90))
                margin = 0 if attempt > 40 else 15
                clear = running[begin + length + margin] - running[begin - margin]
                if clear < length + 2 * margin or blocked[begin - 90 : begin + length + 90].any():
                    continue
                if self._inject(name, kind, begin, length, rng):
                    blocked[max(0, begin - 180) : begin + length + 180] = True
                    break

    def _inject(self, name: str, kind: str, begin: int, length: int, rng: np.random.Generator) -> bool:
        spec, variation = self._specs[name], self._variations[name]
        low, high, resolution = (float(spec[key]) for key in ("low", "high", "resolution"))  # type: ignore[arg-type]
        window = slice(begin, begin + length)
        clean = self._columns[name][window].copy()
        at_rest = (low >= 0) & (clean <= low + REST * (high - low))
        if kind != "spike" and float(at_rest.mean()) > 0.6:
            return False  # a sensor at rest shows no fault
        direction = 1 if rng.random() < 0.6 else -1
        before = float(self._columns[name][begin - 1])
        faulty = deviation(kind, clean, before, low, variation, direction, float(rng.random()), rng)
        if kind in {"level_shift", "drift", "spike"} and (faulty.max() > high or faulty.min() < low):
            faulty = 2 * clean - faulty  # there is no room on this side of the range: fail to the other
        if kind in {"level_shift", "drift", "noise_burst", "oscillation"}:
            faulty[at_rest] = clean[at_rest]
        faulty = self._sense(faulty, low, high, resolution)
        inside = (clean > low + REST * (high - low)) & (clean < high - REST * (high - low))
        if kind != "dropout" and np.mean(inside & ((faulty <= low) | (faulty >= high))) > 0.05:
            return False  # it would be saturation, not this fault
        if not effect_is_real(kind, clean, faulty, variation, resolution):
            return False
        self._columns[name][window] = faulty
        severity = float(np.abs(faulty - clean).max()) / variation.sigma
        self._labels.append(FaultLabel(begin, begin + length - 1, name, kind, severity))
        return True

    def _degrade(
        self,
        name: str,
        column: Array,
        magnitude: float,
        ramp: Array,
        degrading: list[tuple[int, int]],
        working: RowMask,
        variation: Variation,
    ) -> None:
        if not magnitude:
            return
        scale = magnitude * max(2.0 * variation.noise, 0.6 * variation.daily)
        visible = max(2.0 * variation.noise, 0.35 * variation.daily)
        for begin, end in degrading:
            effect = scale * ramp[begin:end]
            column[begin:end] += effect * working[begin:end]
            shows = np.flatnonzero(np.abs(effect) >= visible)
            if shows.size:
                first = begin + int(shows[0])
                self._labels.append(FaultLabel(first, end - 1, name, "precursor", abs(scale) / variation.sigma))

    # ---------------------------------------------------------------- files

    def write(self, folder: str | Path = ".") -> None:
        """Write data.csv, data.parquet, labels.csv, events.csv and dataset.json into ``folder``.

        Raises:
            ValueError: no signals, or a failure names a signal that does not exist.
        """
        if not self._columns:
            raise ValueError("write: the machine has no signals")
        for failure, effects, _, _ in self._effects:
            for name in effects:
                if name not in self._variations:
                    raise ValueError(f"failure {failure!r}: {name!r} is not a measured signal of this machine")
        target = Path(folder)
        write_tables(target, self.year, self._columns)
        write_labels(target, self.year, self._labels)
        write_events(target, self.year, self._events)
        declared = {
            "machine": self.name, "year": self.year, "seed": self.seed, "description": self.description,
            "correlations": self._correlations,
        }  # fmt: skip
        write_declaration(target, declared, list(self._specs.values()))

    @staticmethod
    def _sense(column: Array, low: float, high: float, resolution: float) -> Array:
        """What the sensor reports: clipped to its range, in whole steps of its resolution, as short decimals."""
        exponent = int(Decimal(repr(resolution)).normalize().as_tuple().exponent)
        np.clip(column, low, high, out=column)
        if resolution != 10.0**exponent:
            column /= resolution
            np.rint(column, out=column)
            column *= resolution
        np.round(column, -exponent, out=column)
        column += 0.0  # turns -0.0 into 0.0
        return column

    def _still_open(self, method: str) -> None:
        if self._on_is_final:
            raise ValueError(f"{method}: call it before recipe, on, cycle, parts and signal, which depend on it")

    def _log_standstills(self, kind: str, name: str, at_least: int) -> None:
        edges = np.flatnonzero(np.diff(self._on.astype(np.int8), prepend=1, append=1))
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            # The year cuts its first and its last standstill short.
            if end - begin >= at_least or begin == 0 or end == self.n:
                self._events.append((begin, end - 1, kind, name))
