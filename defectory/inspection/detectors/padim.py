"""PaDiM: a Gaussian for the patches of each position, for parts that always lie the same.

Source: Defard et al., "PaDiM: a Patch Distribution Modeling Framework" (2021), with a random orthogonal projection in
place of a random choice of channels, as in Kim et al., "Semi-orthogonal Embedding" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import DistanceMap, Patches

MOST_NUMBERS = 1_000_000
"""Numbers kept for the shapes of all positions: a bound on the bundle's size."""

_MOST_DIMENSIONS = 48
_POOLED_IMAGES = 20.0
"""The spread of all positions weighs as much as this many images in each position's own."""


@dataclass(frozen=True, slots=True)
class Padim:
    """``projection`` is ``(d, k)``, ``means`` ``(h * w, k)``, ``whiteners`` the lower triangles ``(h * w, k, k)`` that
    make a position's patches of unit variance; all float32 that half precision represents exactly.
    """

    projection: NDArray[np.float32]
    means: NDArray[np.float32]
    whiteners: NDArray[np.float32]

    @classmethod
    def fit(cls, images: Sequence[Patches], valid: NDArray[np.bool_], *, seed: int) -> Self:
        """Estimate mean and covariance at each position, shrunk towards the covariance of all positions."""
        height, width, depth = images[0].shape
        most = int(np.sqrt(2 * MOST_NUMBERS / (height * width)))
        size = max(4, min(_MOST_DIMENSIONS, depth, most))
        basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((depth, min(size, depth))))
        projection = _half(basis)
        values = np.stack([image.reshape(-1, depth) @ projection for image in images], axis=1)
        means = _half(values.mean(axis=1))
        centred = values - means[:, None]
        own = np.einsum("pni,pnj->pij", centred, centred, optimize=True) / len(images)
        pooled = own[valid.ravel()].mean(axis=0)
        weight = len(images) / (len(images) + _POOLED_IMAGES)
        covariance = weight * own + (1 - weight) * pooled
        ridge = 1e-2 * np.trace(pooled) / len(pooled) + 1e-8
        covariance[:, *np.diag_indices(len(pooled))] += ridge
        return cls(projection, means, _half(np.linalg.inv(np.linalg.cholesky(covariance))))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Read what ``arrays`` gave."""
        projection, means, packed = (arrays[name].astype(np.float32) for name in ("projection", "means", "whiteners"))
        size = projection.shape[1]
        rows, columns = np.tril_indices(size)
        if means.shape[1] != size or packed.shape != (len(means), len(rows)):
            raise ValueError("the positions' means and shapes do not fit each other")
        whiteners = np.zeros((len(means), size, size), np.float32)
        whiteners[:, rows, columns] = packed
        return cls(projection, means, whiteners)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything in half precision, the triangles packed."""
        rows, columns = np.tril_indices(self.projection.shape[1])
        return {
            "projection": self.projection.astype(np.float16),
            "means": self.means.astype(np.float16),
            "whiteners": self.whiteners[:, rows, columns].astype(np.float16),
        }

    def distances(self, patches: Patches) -> DistanceMap:
        """The Mahalanobis distance of each patch to its position's, a root mean square over dimensions: about 1 for
        good patches.
        """
        height, width, depth = patches.shape
        centred = patches.reshape(-1, depth) @ self.projection - self.means
        white = np.matmul(self.whiteners, centred[:, :, None])[:, :, 0]
        return np.asarray(np.sqrt(np.square(white).mean(axis=1)).reshape(height, width), np.float32)


def _half(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(np.clip(values, -6e4, 6e4).astype(np.float16), np.float32)
