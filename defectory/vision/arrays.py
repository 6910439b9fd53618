"""What an image and a mask are, as arrays."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

PictureFormat = Literal["jpg", "png"]
"""What pictures are written as."""

Image = NDArray[np.uint8]
"""RGB of shape ``(height, width, 3)``, upright."""

Mask = NDArray[np.uint8]
"""Shape ``(height, width)``: 255 = defect, 0 = none.  Services that think otherwise are converted at their edge."""

Region = NDArray[np.bool_]
"""Some pixels, shape ``(height, width)``."""

Field = NDArray[np.float32]
"""A quantity at each pixel, shape ``(height, width)`` or ``(height, width, channels)``."""
