"""Ridge regression from sums alone: rows are added block by block, and memory stays that of one square matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096
"""Rows that are added up at a time."""


class RidgeSums:
    """The normal equations of a weighted ridge regression with an intercept.

    Source: Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems" (1970).

    Args:
        inputs: how many features.
        outputs: how many targets.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self._gram = np.zeros((inputs + 1, inputs + 1))
        self._moments = np.zeros((inputs + 1, outputs))
        self._waiting: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self.rows = 0

    @property
    def gram(self) -> NDArray[np.float64]:
        """The sum of the rows' products with themselves, ``(inputs + 1, inputs + 1)``."""
        self._sum_up()
        return self._gram

    def add(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        """Add rows ``(n, inputs)`` with targets ``(n, outputs)``, each counting ``weights`` times (once by default)."""
        extended = np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1)
        if weights is not None:
            roots = np.sqrt(weights)[:, None]
            extended, targets = extended * roots, targets * roots
        self._waiting.append((extended, targets))
        self.rows += len(features)
        if sum(len(rows) for rows, _ in self._waiting) >= _BLOCK:
            self._sum_up()

    def _sum_up(self) -> None:
        if self._waiting:
            rows, targets = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            # A matrix times itself costs half, and a large block adds to the sums once.
            self._gram += rows.T @ rows
            self._moments += rows.T @ targets

    def solve(self, strength: float) -> NDArray[np.float64]:
        """Weights ``(inputs + 1, outputs)``, the intercept last, which alone is not shrunk; zeros without rows.

        Args:
            strength: of the penalty, in multiples of the features' mean sum of squares.
        """
        if not self.rows:
            return np.zeros_like(self._moments)
        gram = self.gram.copy()
        diagonal, size = gram.ravel()[:: len(gram) + 1], len(gram)
        penalty = strength * float(diagonal[:-1].sum()) / (size - 1) + 1e-9
        diagonal[:-1] += penalty
        diagonal[-1] *= 1 + 1e-9
        return np.asarray(np.linalg.solve(gram, self._moments), np.float64)


class Standardiser:
    """Features to a mean of 0 and a deviation of 1, as the first rows have them."""

    _LEAST_SPREAD = 1e-3

    def __init__(self, sample: NDArray[np.float32]) -> None:
        self.mean = sample.mean(axis=0, dtype=np.float64)
        self.spread = sample.std(axis=0, dtype=np.float64) + self._LEAST_SPREAD

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features, standardised."""
        return np.asarray((features - self.mean) / self.spread, np.float32)

    def fold(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Weights for standardised features (the intercept last), made ones for the features as they are."""
        folded = weights.copy()
        folded[:-1] /= self.spread[:, None]
        folded[-1] -= self.mean @ folded[:-1]
        return folded.astype(np.float32)
