"""Ridge regression from sums alone: rows are added block by block, and memory stays that of one square matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RidgeSums:
    """The normal equations of a weighted ridge regression with an intercept.

    Source: Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems" (1970).

    Args:
        inputs: how many features.
        outputs: how many targets.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.gram = np.zeros((inputs + 1, inputs + 1))
        self.moments = np.zeros((inputs + 1, outputs))
        self.rows = 0

    def add(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        """Add rows ``(n, inputs)`` with targets ``(n, outputs)``, each counting ``weights`` times (once by default)."""
        extended = np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1)
        weighted = extended if weights is None else extended * weights[:, None]
        self.gram += weighted.T @ extended
        self.moments += weighted.T @ targets
        self.rows += len(features)

    def solve(self, strength: float) -> NDArray[np.float64]:
        """Weights ``(inputs + 1, outputs)``, the intercept last, which alone is not shrunk; zeros without rows.

        Args:
            strength: of the penalty, in multiples of the features' mean sum of squares.
        """
        if not self.rows:
            return np.zeros_like(self.moments)
        size = len(self.gram)
        penalty = np.full(size, strength * np.trace(self.gram[:-1, :-1]) / (size - 1) + 1e-9)
        penalty[-1] = 1e-9 * self.gram[-1, -1]
        return np.asarray(np.linalg.solve(self.gram + np.diag(penalty), self.moments), np.float64)


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
