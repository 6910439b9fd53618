"""Recipes: batches of timed steps, run one after another while the machine is operated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defectory.sensors.arrays import RowMask

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe: its name, its mean duration and the relative spread of that duration (0.05 = 5 %)."""

    name: str
    minutes: float
    spread: float = 0.04


class Recipe:
    """Which step of which batch runs in every minute of the year.

    Attributes:
        step: number of the running step, 1 for the first, 0 between batches; float array, shape ``(n,)``.
        batch: number of the running or last batch, from 0; int array, shape ``(n,)``.
        running: 1.0 while a batch runs, else 0.0.
    """

    def __init__(
        self,
        steps: tuple[Step, ...],
        step: NDArray[np.int8],
        batch: NDArray[np.int32],
        product: NDArray[np.int16],
        rng: np.random.Generator,
    ) -> None:
        self._steps, self._index, self.batch, self._product, self._rng = steps, step, batch, product, rng
        self.step: Array = step.astype(np.float64)
        self.running: Array = (step > 0).astype(np.float64)

    def level(self, idle: float = 0.0, **values: float) -> Array:
        """Setpoint per step, e.g. ``level(idle=20, heat=240, soak=240)``; steps not named keep ``idle``."""
        names = [step.name for step in self._steps]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise ValueError(f"recipe.level: unknown step {unknown[0]!r}; the recipe has {', '.join(names)}")
        table = np.array([idle, *(values.get(name, idle) for name in names)], dtype=np.float64)
        return np.asarray(table[self._index])

    def per_batch(self, spread: float) -> Array:
        """A factor around 1 with relative standard deviation ``spread``, new for every batch."""
        factors = 1.0 + spread * self._rng.standard_normal(int(self.batch[-1]) + 1).clip(-3, 3)
        return np.asarray(factors[self.batch])

    def per_product(self, spread: float) -> Array:
        """A factor around 1 with relative standard deviation ``spread``, one for each product that is made."""
        count = int(self._product.max()) + 1
        factors = 1.0 + spread * np.linspace(-1.4, 1.4, count)[self._rng.permutation(count)]
        return np.asarray(factors[self._product])


def schedule_batches(
    steps: tuple[Step, ...], on: RowMask, gap: float, products: int, rng: np.random.Generator
) -> Recipe:
    """Fill every stretch of operated minutes with whole batches; a batch that would not fit is not started.

    A stop shorter than a batch holds the machine in the step it was in, as an interrupted process does.
    """
    n = on.size
    mean = np.array([step.minutes for step in steps])
    spread = np.array([step.spread for step in steps])
    total = float(mean.sum() + gap)
    expected = int(n / total * 1.3) + 8
    durations = mean * (1.0 + spread * rng.standard_normal((expected, len(steps))).clip(-3, 3))
    durations = np.maximum(1, np.rint(durations)).astype(np.int64)
    gaps = np.maximum(0, np.rint(gap * rng.gamma(4.0, 0.25, expected))).astype(np.int64)
    campaign = np.cumsum(rng.random(expected) < 1.0 / 40.0)
    product_of = rng.permutation(np.resize(np.arange(products), max(products, int(campaign[-1]) + 1)))[campaign]

    index = np.zeros(n, np.int8)
    batch = np.zeros(n, np.int32)
    lengths = durations.sum(axis=1) + gaps
    numbers = np.arange(1, len(steps) + 1, dtype=np.int8)
    edges = np.flatnonzero(np.diff(on.astype(np.int8), prepend=0, append=0))
    used = 0
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        ends = np.cumsum(lengths[used : used + int((end - begin) / total * 1.6) + 4])
        fits = min(int(np.searchsorted(ends, end - begin + 1)), expected - used)
        if fits <= 0:
            continue
        batches = slice(used, used + fits)
        pattern = np.tile(np.append(numbers, np.int8(0)), fits)
        minutes = np.column_stack([durations[batches], gaps[batches]])
        stretch = np.repeat(pattern, minutes.ravel())[: end - begin]
        index[begin : begin + stretch.size] = stretch
        batch[begin : begin + stretch.size] = np.repeat(np.arange(used, used + fits), minutes.sum(axis=1))[
            : end - begin
        ]
        used += fits
    np.maximum.accumulate(batch, out=batch)
    # Between batches the machine stays set up for the product it made last.
    return Recipe(steps, index, batch, product_of[batch].astype(np.int16), rng)
