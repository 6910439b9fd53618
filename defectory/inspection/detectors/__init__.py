"""Detectors: what is learned from the patches of good images, and how far a new patch is from them.

Patches come as float32 ``(h, w, d)``, a unit vector each; a detector answers with a map ``(h, w)`` of distances >= 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Patches = NDArray[np.float32]
DistanceMap = NDArray[np.float32]


class Detector(Protocol):
    """One way to tell a patch from those of good images."""

    @classmethod
    def fit(cls, images: Sequence[Patches], valid: NDArray[np.bool_], *, seed: int) -> Self:
        """Learn from good images, at the positions where ``valid``, of shape ``(h, w)``, is true."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The detector whose ``arrays()`` these are; raises KeyError or ValueError where they are not."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What was learned, in the types it is stored in."""

    def distances(self, patches: Patches) -> DistanceMap:
        """How far each patch is from those of good images."""
