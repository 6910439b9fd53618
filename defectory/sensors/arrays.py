"""Arrays: the kinds of array that signals and their checks share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RowMask = NDArray[np.bool_]
"""Whether something holds in each minute of a year, one value for each row of ``data.csv``; shape ``(rows,)``."""
