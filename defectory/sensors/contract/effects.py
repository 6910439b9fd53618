"""Effects: is every label real?  Compare what a label marks with windows of the same machine that nothing marks.

A statistic of the labelled window (level, trend, level of the last quarter, spread, roughness, jump at an edge; which
ones depends on the kind) is predicted from what surrounds it: the same signal before and after, and the other signals
before, within and after.  The prediction is a ridge regression on those unlabelled windows of the same length whose
surroundings resemble the label's most, so that operating state, recipe step, load and season are accounted for.  The
effect is the label's residual in units of the residual that 98 % of the comparable windows stay under: 1 is at the edge
of the ordinary, a random window has about 0.5.  All statistics come from running sums, so that a window costs the same
at any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defectory.sensors.contract.files import Column
from defectory.sensors.contract.labels import Event, Label

Rows = NDArray[np.int64]
Features = NDArray[np.float64]

CLEAR, FAINT = 1.3, 0.7
FAINT_SHARE = 0.05

CANDIDATES, NEIGHBOURS, FEWEST = 2_400, 250, 60
SIGNALS_AT_ONCE = 16
DAY = 1440

# Which statistics a kind may show in, and in which direction (0: either).
STATISTICS: Mapping[str, Mapping[str, int]] = {
    "spike": {"level": 0, "roughness": 1},
    "level_shift": {"level": 0, "edge": 0},
    "drift": {"level": 0, "trend": 0, "tail": 0, "edge": 0},
    "stuck": {"spread": -1, "roughness": -1},
    "noise_burst": {"spread": 1, "roughness": 1},
    "oscillation": {"spread": 0, "roughness": 0},  # against the rhythm of a recipe it may even calm the signal
    "dropout": {"level": 0, "edge": 0},
    "precursor": {"level": 0, "trend": 0, "tail": 0, "spread": 0, "roughness": 0},
}


@dataclass(frozen=True, slots=True)
class Effect:
    """How strongly ``label`` shows, 1 being the edge of the ordinary."""

    label: Label
    strength: float


def effects(
    columns: Sequence[Column], labels: Sequence[Label], events: Sequence[Event], pool: Executor
) -> Iterator[Effect]:
    """The effect of every label, in no particular order."""
    rng = np.random.default_rng(1)
    groups = -(-len(columns) // SIGNALS_AT_ONCE)
    for group in np.array_split(np.arange(len(columns)), groups):
        members = group.tolist()
        here = [label for label in labels if label.signal in members]
        if not here:
            continue
        windows = _Windows([columns[member] for member in members], pool)
        for label in here:
            yield Effect(label, _effect(windows, label, labels, events, members, rng))


def weak(found: Sequence[Effect]) -> list[Effect]:
    """The effects that are not clear; the precursors of one failure count together, by the strongest of them."""
    best = {}
    for effect in found:
        together = [
            other.strength for other in found
            if effect.label.kind == other.label.kind == "precursor"
            and other.label.start <= effect.label.end and effect.label.start <= other.label.end
        ]  # fmt: skip
        best[effect.label.number] = max([effect.strength, *together])
    return [effect for effect in found if best[effect.label.number] < CLEAR]


def tolerable(faint: Sequence[Effect], labels: int) -> bool:
    """One label in twenty may be hard to tell from ordinary operation, as in real data, but none may show nothing."""
    return len(faint) <= max(1, FAINT_SHARE * labels) and all(effect.strength >= FAINT for effect in faint)


class _Windows:
    """Statistics of any window of any of ``k`` signals: three running sums a signal, shape ``(k, rows + 1)`` each."""

    def __init__(self, columns: Sequence[Column], pool: Executor) -> None:
        self.count, self.rows = len(columns), columns[0].size
        self._sums = np.zeros((3, self.count, self.rows + 1))
        list(pool.map(self._fill, range(self.count), columns))

    def _fill(self, number: int, values: Column) -> None:
        scaled = (values - values.mean()) / (values.std() or 1.0)
        np.cumsum(scaled, out=self._sums[0, number, 1:])
        np.cumsum(np.abs(np.diff(scaled, prepend=scaled[0])), out=self._sums[2, number, 1:])
        np.multiply(scaled, scaled, out=scaled)
        np.cumsum(scaled, out=self._sums[1, number, 1:])

    def _means(self, kind: int, start: Rows, end: Rows) -> Features:
        start = np.clip(start, 0, self.rows - 1)
        end = np.clip(end, start + 1, self.rows)
        sums = self._sums[kind]
        means: Features = (sums.take(end, axis=1) - sums.take(start, axis=1)) / (end - start)
        return means

    def level(self, start: Rows, end: Rows) -> Features:
        """Mean over rows ``start..end - 1`` in yearly standard deviations, shape ``(k, len(start))``."""
        return self._means(0, start, end)

    def trend(self, start: Rows, end: Rows) -> Features:
        """Level of the second half less that of the first."""
        middle = (start + end) // 2
        return self.level(middle, end) - self.level(start, middle)

    def spread(self, start: Rows, end: Rows) -> Features:
        """Decadic logarithm of the standard deviation."""
        variance = self._means(1, start, end) - self.level(start, end) ** 2
        return np.asarray(np.log10(np.sqrt(np.maximum(variance, 0.0)) + 1e-3))

    def roughness(self, start: Rows, end: Rows) -> Features:
        """Decadic logarithm of the mean step from minute to minute, into and out of the window included.

        Mean, not mean square: otherwise one edge of a recipe would outweigh an hour of oscillation.
        """
        return np.asarray(np.log10(np.maximum(self._means(2, start, end + 1), 0.0) + 1e-3))


def _effect(
    windows: _Windows,
    label: Label,
    labels: Sequence[Label],
    events: Sequence[Event],
    members: Sequence[int],
    rng: np.random.Generator,
) -> float:
    """Strength of one label in its wider surroundings or, if it does not show there, in its closer ones."""
    strength = 0.0
    for longest in (DAY, 30):
        context = int(np.clip(label.rows, 6, longest))
        candidates = _comparable(windows.rows, label, labels, events, context, rng)
        if candidates.size < FEWEST:
            continue
        near = [
            other for other in labels
            if other.start <= label.end + context // 2 and other.end >= label.start - context // 2
        ]  # fmt: skip
        # Signals that are faulty themselves at that time explain nothing, but the precursors of one failure may: what
        # all of them show together need not show in each of them against the others.
        ignored = [{label.signal, *(other.signal for other in near)}]
        if label.kind == "precursor" and len(ignored[0]) > 1:
            ignored.append({label.signal})
        for signals in ignored:
            helping = [place for place, member in enumerate(members) if member not in signals]
            view = _View(
                windows, members.index(label.signal), helping, np.append(candidates, label.start), label.rows, context
            )
            for statistic, direction in STATISTICS[label.kind].items():
                strength = max(strength, view.strength(statistic, direction))
        if strength >= CLEAR:
            break
    return strength


def _comparable(
    rows: int, label: Label, labels: Sequence[Label], events: Sequence[Event], context: int, rng: np.random.Generator
) -> Rows:
    """Starts of windows to compare with: no label on the signal there, and an event nearby only if the label has one.

    Half are anywhere in the year, half at the label's time of day, which is where machines with shifts are comparable.
    """
    half = CANDIDATES // 2
    anywhere = rng.integers(context, rows - label.rows - context, half)
    days = np.linspace(0, rows // DAY, half, endpoint=False).astype(np.int64) * DAY
    clock = days + label.start % DAY + rng.integers(-45, 46, half)
    starts = np.sort(np.concatenate([anywhere, clock]))
    starts = starts[(starts >= context) & (starts + label.rows + context < rows)]
    own = [other for other in labels if other.signal == label.signal]
    starts = starts[~_touches(own, starts, label.rows, min(context, 60))]
    here = np.array([label.start])
    for margin in (min(context, 240), 0):
        eventful = bool(_touches(events, here, label.rows, margin)[0])
        alike: Rows = starts[_touches(events, starts, label.rows, margin) == eventful]
        if alike.size >= 2 * NEIGHBOURS:
            return alike
    return alike if alike.size >= FEWEST else starts


def _touches(spans: Sequence[Label | Event], starts: Rows, length: int, margin: int) -> NDArray[np.bool_]:
    """Whether windows of ``length`` rows, widened by ``margin``, meet one of the spans.

    A span meets the window unless it ends before it or starts after it: count both kinds.
    """
    begins = np.sort(np.array([span.start for span in spans], dtype=np.int64))
    ends = np.sort(np.array([span.end for span in spans], dtype=np.int64))
    begun = np.searchsorted(begins, starts + length + margin, "left")
    ended = np.searchsorted(ends, starts - margin, "left")
    return np.asarray(begun > ended)


class _View:
    """The label's window (the last of ``starts``) among comparable ones, with what predicts its statistics."""

    def __init__(
        self, windows: _Windows, signal: int, helping: Sequence[int], starts: Rows, length: int, context: int
    ) -> None:
        self._windows, self._signal, self._helping = windows, signal, list(helping)
        self._start, self._end = starts, starts + length
        self._length, self._context = length, context
        self._before, self._after = starts - context, starts + length + context
        self._level = windows.level(self._start, self._end)
        level_before = windows.level(self._before, self._start)
        level_after = windows.level(self._end, self._after)
        widened = max(0, (7 - length) // 2)  # the spread of one or two values says nothing
        spread = windows.spread(self._start - widened, self._end + widened)
        self._own_before, self._own_after = level_before[[signal]], level_after[[signal]]
        self._others = [features[self._helping] for features in (self._level, level_before, spread)]
        self._others_after = level_after[self._helping]

    def strength(self, statistic: str, direction: int) -> float:
        """The label's residual over what 98 % of comparable windows stay under; 0 when it has the wrong direction."""
        if self._length < {"spread": 4, "trend": 8, "tail": 8}.get(statistic, 1):
            return 0.0
        residuals = list(getattr(self, f"_{statistic}_residuals")())
        usual = np.concatenate([residual[:-1] for residual in residuals])
        middle = float(np.median(usual))
        deviations = np.array([residual[-1] for residual in residuals]) - middle
        usual -= middle
        if direction:
            limit, found = float(np.quantile(direction * usual, 0.98)), float((direction * deviations).max())
        else:
            limit, found = float(np.quantile(np.abs(usual), 0.98)), float(np.abs(deviations).max())
        return max(0.0, found / max(limit, 1e-6))

    def _level_residuals(self) -> Iterator[Features]:
        yield _residuals(
            [self._own_before, self._own_after, *self._others, self._others_after], self._level[self._signal]
        )

    def _trend_residuals(self) -> Iterator[Features]:
        trend = self._windows.trend(self._start, self._end)
        features = [self._own_before, self._own_after, trend[self._helping], *self._others, self._others_after]
        yield _residuals(features, trend[self._signal])

    def _tail_residuals(self) -> Iterator[Features]:
        tail = self._windows.level(self._end - self._length // 4, self._end)
        yield _residuals([self._own_before, tail[self._helping], *self._others], tail[self._signal])

    def _edge_residuals(self) -> Iterator[Features]:
        """Jumps into and out of the window, each measured over three minutes."""
        width = min(3, self._length)
        for row, outside in ((self._start, -width), (self._end, width)):
            level_before = self._windows.level(row - width, row)
            level_after = self._windows.level(row, row + width)
            jump = level_after - level_before
            reference = (level_before if outside < 0 else level_after)[[self._signal]]
            yield _residuals([jump[self._helping], reference], jump[self._signal])

    def _spread_residuals(self) -> Iterator[Features]:
        return self._variation_residuals(self._windows.spread, also_within=False)

    def _roughness_residuals(self) -> Iterator[Features]:
        return self._variation_residuals(self._windows.roughness, also_within=True)

    def _variation_residuals(self, measure: object, *, also_within: bool) -> Iterator[Features]:
        assert callable(measure)
        within = measure(self._start, self._end)
        before, after = measure(self._before, self._start), measure(self._end, self._after)
        features = [before[[self._signal]], after[[self._signal]], before[self._helping], after[self._helping]]
        features += [self._others[0], self._others[2]]
        if also_within:
            features.append(within[self._helping])
        yield _residuals(features, within[self._signal])


def _residuals(features: Sequence[Features], target: Features) -> Features:
    """What a ridge regression on the nearest neighbours of the last window leaves of ``target``; the last one last."""
    known = np.concatenate(features)
    known -= known.mean(axis=1, keepdims=True)
    known /= known.std(axis=1, keepdims=True) + 1e-9
    distance = ((known[:, :-1] - known[:, -1:]) ** 2).sum(axis=0)
    count = min(NEIGHBOURS, distance.size)
    chosen = np.append(np.argpartition(distance, count - 1)[:count], target.size - 1)
    near, wanted = known[:, chosen], target[chosen]
    near = np.concatenate([near, np.ones((1, chosen.size))])
    usual = near[:, :-1]
    penalty = np.full(len(near), 0.01 * count)
    penalty[-1] = 1e-9
    weights = np.linalg.solve(usual @ usual.T + np.diag(penalty), usual @ wanted[:-1])
    return np.asarray(wanted - weights @ near)
