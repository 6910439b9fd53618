"""Opening an upload: its image, or why there is none to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from defectory.errors import ImageError, shorten
from defectory.line.records import REASON_LIMIT, FailedStatus
from defectory.line.uploads import Upload
from defectory.vision.images import load_image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""What is looked at, in lower case; uploads may be in any."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An uploaded file and its image, uint8 RGB ``(height, width, 3)``."""

    content: bytes
    image: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why an upload is not looked at: the status of its record, and the reason."""

    status: FailedStatus
    reason: str


def open_upload(upload: Upload, read: Callable[[Upload], bytes]) -> OpenedImage | Unusable:
    """The image that was uploaded, its content got by ``read``.

    Raises:
        ServiceError: ``read`` failed, which is to be tried again; the image is not to blame.
    """
    if PurePosixPath(upload.key).suffix.lower() not in SUFFIXES:
        return Unusable("UNSUPPORTED", f"Only {', '.join(sorted(SUFFIXES))} files are inspected.")
    try:
        content = read(upload)
        return OpenedImage(content, load_image(content, name=PurePosixPath(upload.key).name))
    except ImageError as error:
        return Unusable("UNREADABLE", shorten(str(error), REASON_LIMIT))
