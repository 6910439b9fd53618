"""The signature: how unusual an image is as a whole, where no single patch says it (shade, texture, a part missing).

The mean and the deviation of an image's patches, against a Gaussian of those of good images with Ledoit and Wolf's
shrinkage ("A well-conditioned estimator for large-dimensional covariance matrices", 2004).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from defectory.inspection.detectors import Patches

_MOST_AXES = 400


@dataclass(frozen=True, slots=True)
class Signature:
    """``axes`` ``(k, m)`` are the directions good images vary in, by more than the ``floor`` of all others.

    ``typical`` is the image_score of a held-out good image, and ``exponent`` how strongly image_score changes a map.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    variances: NDArray[np.float32]
    floor: float
    typical: float = 1.0
    exponent: float = 0.0

    @classmethod
    def fit(cls, images: Sequence[Patches], valid: NDArray[np.bool_]) -> Self:
        """Learn from good images."""
        from sklearn.covariance import ledoit_wolf_shrinkage

        summaries = np.stack([summarise(image, valid) for image in images])
        centre, scale = _half(summaries.mean(axis=0)), _half(summaries.std(axis=0) + 1e-4)
        standard = (summaries - centre) / scale
        # One image says nothing of how images vary.
        shrinkage = float(ledoit_wolf_shrinkage(standard, assume_centered=True)) if len(images) > 1 else 1.0
        _, singular, axes = np.linalg.svd(standard, full_matrices=False)
        variances = singular**2 / len(images)
        floor = max(shrinkage * float(np.square(standard).mean()), 1e-6)
        leading = slice(0, _MOST_AXES)
        return cls(
            centre,
            scale,
            _half(axes[leading]),
            ((1 - shrinkage) * variances[leading] + floor).astype(np.float32),
            floor,
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Read what ``arrays`` gave."""
        centre, scale, axes, variances = (
            arrays[name].astype(np.float32) for name in ("centre", "scale", "axes", "variances")
        )
        floor, typical, exponent = arrays["numbers"].astype(np.float64)
        if centre.shape != scale.shape or axes.shape != (len(variances), len(centre)):
            raise ValueError("the signature's parts do not fit each other")
        return cls(centre, scale, axes, variances, float(floor), float(typical), float(exponent))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What was learned; vectors in half precision."""
        return {
            "centre": self.centre.astype(np.float16),
            "scale": self.scale.astype(np.float16),
            "axes": self.axes.astype(np.float16),
            "variances": self.variances,
            "numbers": np.array([self.floor, self.typical, self.exponent], np.float64),
        }

    def tuned(self, typical: float, exponent: float) -> Self:
        """The same signature, weighed so."""
        return replace(self, typical=typical, exponent=exponent)

    def image_score(self, patches: Patches, valid: NDArray[np.bool_]) -> float:
        """The Mahalanobis distance of an image's summary, a root mean square over its numbers."""
        standard = ((summarise(patches, valid) - self.centre) / self.scale).astype(np.float64)
        along = self.axes.astype(np.float64) @ standard
        # Orthogonal to the axes, every direction has the variance of the floor.
        beyond = max(float(standard @ standard - along @ along), 0.0) / self.floor
        return float(np.sqrt((float((along**2 / self.variances).sum()) + beyond) / len(standard)))

    def factor(self, patches: Patches, valid: NDArray[np.bool_]) -> float:
        """What to multiply an image's map with: 1 for a typical good image."""
        return float((self.image_score(patches, valid) / self.typical) ** self.exponent)


def summarise(patches: Patches, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean and the deviation of an image's patches, ``(2 d,)``."""
    inspected = patches[valid]
    return np.concatenate([inspected.mean(axis=0), inspected.std(axis=0)]).astype(np.float32)


def _half(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)
