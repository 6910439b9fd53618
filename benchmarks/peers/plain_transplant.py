"""A plain way to move defects: their difference to blurred surroundings, turned a little, anywhere on the part."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from defectory.errors import RenderError
from defectory.images.renderers import RendererName, RenderRequest, RenderResult
from defectory.images.renderers.transplant import Donor
from defectory.vision.foreground import find_part
from defectory.vision.photos import Photo

_BLUR, _MARGIN = 9.0, 6


class PlainTransplant:
    """The peer of `TransplantRenderer`."""

    name: RendererName = "transplant"
    needs_photo = True

    def __init__(self, donors: Sequence[Donor]) -> None:
        self._donors = [donor for donor in donors if donor.mask.any()]

    def render(self, photo: Photo | None, request: RenderRequest) -> RenderResult:
        """The defect of any donor of the kind."""
        assert photo is not None
        rng = np.random.default_rng(request.seed)
        donors = [donor for donor in self._donors if donor.kind == request.defect]
        donor = donors[int(rng.integers(len(donors)))]
        rows, columns = np.nonzero(donor.mask)
        window = np.s_[
            max(0, rows.min() - _MARGIN) : rows.max() + _MARGIN + 1,
            max(0, columns.min() - _MARGIN) : columns.max() + _MARGIN + 1,
        ]
        blurred = cv2.GaussianBlur(donor.image, (0, 0), _BLUR)
        delta = donor.image[window].astype(np.float32) - blurred[window]
        mask = (donor.mask[window] > 0).astype(np.float32)
        for axis in (0, 1):
            if rng.random() < 0.5:
                delta, mask = np.flip(delta, axis), np.flip(mask, axis)
        height, width = mask.shape
        turn, scale = rng.uniform(-15, 15), float(np.exp(rng.uniform(-0.35, 0.35)))
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
        delta = cv2.warpAffine(np.ascontiguousarray(delta), matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        mask = cv2.warpAffine(np.ascontiguousarray(mask), matrix, (width, height))
        if height > photo.image.shape[0] or width > photo.image.shape[1]:
            raise RenderError(f"{photo.name} is smaller than the defect.")
        places = np.argwhere(find_part(photo.image))
        middle = places[int(rng.integers(len(places)))]
        top = int(np.clip(middle[0] - height // 2, 0, photo.image.shape[0] - height))
        left = int(np.clip(middle[1] - width // 2, 0, photo.image.shape[1] - width))
        place = np.s_[top : top + height, left : left + width]
        alpha = np.clip(cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3))), (0, 0), 1.2), 0, 1)[..., None]
        new = cv2.GaussianBlur(photo.image, (0, 0), _BLUR)[place] + delta * rng.uniform(0.7, 1.3)
        image = photo.image.copy()
        image[place] = np.clip(np.rint(photo.image[place] * (1 - alpha) + new * alpha), 0, 255).astype(np.uint8)
        marked = np.zeros(photo.image.shape[:2], np.uint8)
        marked[place] = np.where(mask > 0.4, 255, 0)
        if not marked.any():
            raise RenderError(f"Nothing is left of the defect of {donor.name}.")
        return RenderResult(image, marked, 0.5, {"donor": donor.digest})
