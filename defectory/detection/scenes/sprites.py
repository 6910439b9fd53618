"""Sprites: cut-outs as they are to lie on the canvas: chosen, coloured, turned and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from defectory.detection.cutouts.library import CutOut, CutOutLibrary
from defectory.detection.layouts.records import LayoutObject, Split
from defectory.detection.scenes.backgrounds.perspective import Perspective
from defectory.detection.scenes.raster import at_least, both, count, resize, weigh
from defectory.vision.arrays import Image, Mask

_LOOKS = 3
"""Cut-outs that are looked at for one that is seen as asked: with more, few views would be everywhere."""

_LARGEST = 3.0
"""Times the canvas's longer side: a larger sprite shows nothing that could be told."""

# Hues of OpenCV (0..179) that equipment is sold in; None is white.
_COLOURS: dict[str, tuple[int | None, ...]] = {
    "hard_hat": (None, None, 24, 27, 15, 10, 2, 108, 112, 62),
    "safety_vest": (32, 36, 28, 40, 9, 6, 12),
}
EQUIPMENT = tuple(_COLOURS)
"""What people wear and is recoloured."""

_RECOLOURED = 0.6
_DULL = 45, 130


@dataclass(frozen=True, slots=True)
class SpritePart:
    """Something that is worn: its pixels within the sprite, bool ``(h, w)``, and how many it has in full."""

    label: str
    mask: Mask
    full: int


@dataclass(frozen=True, slots=True)
class Sprite:
    """What is painted at ``left``, ``top``, cut at the canvas's edges.

    ``colour`` is uint8 RGB ``(h, w, 3)`` multiplied by ``alpha`` ``(h, w)``; ``mask`` is 255 where it counts as the
    object, ``full`` how many such pixels there are with those beyond the canvas.  ``foot`` is the row where it stands.
    """

    label: str
    cutout: str
    left: int
    top: int
    colour: Image
    alpha: Mask
    mask: Mask
    full: int
    foot: float
    stands: bool
    parts: tuple[SpritePart, ...] = ()

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns on the canvas."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def choose_cutout(
    cutouts: CutOutLibrary, item: LayoutObject, camera: Perspective, split: Split, rng: np.random.Generator
) -> CutOut:
    """Of a few cut-outs of the class, dressed as asked where there are such, the one that is seen from about as high.

    Raises:
        InputError: there is none of the class, or of the variant.
    """
    elevation = camera.elevation(item.box[1] + item.box[3])
    dress = _nearest_dress(cutouts, item, split)
    looks = [cutouts.choose(item.label, rng, split, variant=item.variant, wears=dress) for _ in range(_LOOKS)]
    return min(looks, key=lambda cutout: abs(cutout.elevation - elevation))


def _nearest_dress(cutouts: CutOutLibrary, item: LayoutObject, split: Split) -> frozenset[str] | None:
    """What is worn by those that come nearest to what is asked for."""
    asked = frozenset(item.wears)
    if cutouts.select(item.label, split, variant=item.variant, wears=asked):
        return asked
    others = {cutout.wears for cutout in cutouts.select(item.label, split, variant=item.variant)}
    return min(others, key=lambda dress: (len(dress ^ asked), sorted(dress)), default=None)


def make_sprite(cutout: CutOut, item: LayoutObject, camera: Perspective, rng: np.random.Generator) -> Sprite | None:
    """The cut-out where ``item`` asks for it; None where nothing of it meets the canvas."""
    rgba = cutout.rgba
    masks = [(part.label, part.mask) for part in cutout.parts]
    if masks or cutout.label in _COLOURS:
        rgba = _recolour(rgba, masks or [(cutout.label, rgba[..., 3])], rng)
    layers = [weigh(rgba[..., :3], rgba[..., 3]), rgba[..., 3], *(mask for _, mask in masks)]
    if rng.random() < 0.5:
        layers = [np.ascontiguousarray(layer[:, ::-1]) for layer in layers]
    if item.tilt:
        layers = _turn(layers, item.tilt)
    width, height = _size(cutout, item, layers[1].shape[:2], camera, rng)
    if max(width, height) > _LARGEST * max(camera.width, camera.height):
        return None
    left, top = item.box[0] + item.box[2] / 2 - width / 2, item.box[1] + item.box[3] - height
    return _cut(cutout, layers, [label for label, _ in masks], (round(left), round(top), width, height), camera)


def _size(
    cutout: CutOut, item: LayoutObject, shape: tuple[int, ...], camera: Perspective, rng: np.random.Generator
) -> tuple[int, int]:
    """Width and height in pixels: what the thing measures where it stands, or what the box leaves it."""
    rows, columns = shape[:2]
    box_width, box_height = item.box[2:]
    if item.px_per_m is None:
        if not cutout.stands and not item.tilt:
            return max(round(box_width), 1), max(round(box_height), 1)
        scale = min(box_width / columns, box_height / rows)
    else:
        # A cut-out knows its height as it was seen; turned over, that is its width.
        upright = rows if abs(abs(item.tilt) - 90) > 45 else columns
        scale = item.px_per_m * cutout.height_m * rng.uniform(0.94, 1.06) / upright
    slant = 1.0
    if not cutout.stands and not item.tilt and cutout.label not in EQUIPMENT:
        # What lies flat is seen lower the flatter one looks at it.
        seen, taken = (max(angle, 6.0) for angle in (camera.elevation(item.box[1] + item.box[3]), cutout.elevation))
        slant = min(float(np.sin(np.radians(seen)) / np.sin(np.radians(taken))), 1.5)
    return max(round(columns * scale), 1), max(round(rows * scale * slant), 1)


def _cut(
    cutout: CutOut, layers: Sequence[Image], labels: Sequence[str], box: tuple[int, int, int, int], camera: Perspective
) -> Sprite | None:
    left, top, width, height = box
    colour, alpha, *masks = (resize(layer, (width, height)) for layer in layers)
    # Half of what it is at its densest: a puddle is nowhere opaque.
    mask = at_least(alpha, max(float(alpha.max()) / 2, 1.0))
    worn = [both(at_least(part, 128), mask) for part in masks]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, camera.width), min(top + height, camera.height)
    if x1 <= x0 or y1 <= y0:
        return None
    inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    return Sprite(
        label=cutout.label,
        cutout=cutout.id,
        left=x0,
        top=y0,
        colour=colour[inside],
        alpha=alpha[inside],
        mask=mask[inside],
        full=count(mask),
        foot=float(top + height),
        stands=cutout.stands,
        parts=tuple(SpritePart(label, part[inside], count(part)) for label, part in zip(labels, worn, strict=True)),
    )


def _turn(layers: Sequence[Image], degrees: float) -> list[Image]:
    """Colour, alpha and masks turned about their middle, cut tight to what the alpha shows."""
    rows, columns = layers[0].shape[:2]
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide, high = round(rows * sine + columns * cosine), round(rows * cosine + columns * sine)
    matrix[:, 2] += [(wide - columns) / 2, (high - rows) / 2]
    turned = [np.asarray(cv2.warpAffine(layer, matrix, (wide, high)), np.uint8) for layer in layers]
    x, y, width, height = cv2.boundingRect(turned[1])
    return [np.ascontiguousarray(layer[y : y + height, x : x + width]) for layer in turned] if width else turned


def _recolour(rgba: Image, parts: Sequence[tuple[str, Mask]], rng: np.random.Generator) -> Image:
    """Protective equipment in another of the colours it is sold in; its reflecting stripes stay grey."""
    changed = rgba
    for label, mask in parts:
        hues = _COLOURS.get(label, ())
        # Drawn in any case: what one part becomes does not hang on another's.
        hue, is_recoloured = rng.integers(max(len(hues), 1)), rng.random() < _RECOLOURED
        strength = rng.uniform(0.75, 1.15)
        if not hues or not is_recoloured:
            continue
        if changed is rgba:
            changed = rgba.copy()
        _dye(changed, mask, hues[hue], strength)
    return changed


def _dye(rgba: Image, mask: Mask, hue: int | None, strength: float) -> None:
    x, y, wide, high = cv2.boundingRect(mask)
    if not wide:
        return
    part, worn = rgba[y : y + high, x : x + wide, :3], mask[y : y + high, x : x + wide] > 127
    hsv = np.asarray(cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2HSV), np.uint8)
    is_white = float(np.median(hsv[..., 1][worn])) < 60
    dyed = worn if is_white else worn & (hsv[..., 1] > 60)
    if hue is None:
        hsv[..., 1][dyed] = hsv[..., 1][dyed] // 8
        hsv[..., 2][dyed] = np.clip(hsv[..., 2][dyed] * 1.1 + 12, 0, 255).astype(np.uint8)
    else:
        saturation = 190.0 if is_white else hsv[..., 1][dyed].astype(np.float32)
        hsv[..., 0][dyed] = hue
        # Only signal colours glow.
        glow = 1.0 if hue < _DULL[0] or hue > _DULL[1] else 0.7
        hsv[..., 1][dyed] = np.clip(saturation * strength * glow, 0, 255)
        hsv[..., 2][dyed] = (hsv[..., 2][dyed] * glow).astype(np.uint8)
    part[dyed] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[dyed]
