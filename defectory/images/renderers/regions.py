"""Where on a photo a defect may be."""

from __future__ import annotations

import numpy as np

from defectory.errors import InputError
from defectory.images.renderers import RenderRequest
from defectory.vision.arrays import Mask
from defectory.vision.foreground import find_part
from defectory.vision.photos import Photo

_SMALLEST_SIDE = 64
_LARGEST_SIDE = 8000


def allowed_region(photo: Photo, request: RenderRequest) -> Mask:
    """Where the defect may be: in the request's mask and the photo's region, where they are given; else on the part.

    Raises:
        InputError: the photo is too small or too large, or a mask is empty, of another size or leaves no pixel.
    """
    height, width = photo.image.shape[:2]
    if min(height, width) < _SMALLEST_SIDE or max(height, width) > _LARGEST_SIDE:
        rule = f"{_SMALLEST_SIDE} to {_LARGEST_SIDE} pixels wide and high"
        raise InputError("source", rule, f"{width} x {height}", "Resize the photo.")
    for field, mask in (("region", photo.region), ("mask", request.mask)):
        if mask is not None and mask.shape != (height, width):
            got = f"{mask.shape[1]} x {mask.shape[0]}"
            raise InputError(field, f"of the photo's size, {width} x {height}", got, "Resize it.")
        if mask is not None and not mask.any():
            raise InputError(field, "255 where the defect may be", "an empty mask")
    if request.mask is not None:
        region = request.mask if photo.region is None else np.minimum(request.mask, photo.region)
        if not region.any():
            raise InputError("mask", "a mask that overlaps the photo's region", "no pixel in common")
        return region
    return find_part(photo.image) if photo.region is None else photo.region
