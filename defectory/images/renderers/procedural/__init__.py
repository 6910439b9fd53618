"""The procedural renderer: draws defects by rule, lit, blended and placed on the part, with their masks known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from defectory.errors import InputError, RenderError
from defectory.images.placement import Placement, Spot, spot_of
from defectory.images.renderers import RendererName, RenderRequest, RenderResult
from defectory.images.renderers.procedural.canvas import Canvas, DefectKind, Drawn
from defectory.images.renderers.procedural.contamination import CONTAMINATION
from defectory.images.renderers.procedural.crack import CRACK
from defectory.images.renderers.procedural.dent import DENT
from defectory.images.renderers.procedural.missing_component import MISSING_COMPONENT
from defectory.images.renderers.procedural.oil import OIL
from defectory.images.renderers.procedural.scratch import SCRATCH
from defectory.images.renderers.procedural.stain import STAIN
from defectory.images.renderers.regions import allowed_region
from defectory.vision.arrays import Image, Mask
from defectory.vision.blending import changed_pixels, feathered, severity_of, to_levels, to_light
from defectory.vision.foreground import find_part
from defectory.vision.photos import Photo
from defectory.vision.surface import Lamp, Surface, View

KINDS: dict[str, DefectKind] = {
    "scratch": SCRATCH,
    "oil": OIL,
    "stain": STAIN,
    "missing_component": MISSING_COMPONENT,
    "contamination": CONTAMINATION,
    "crack": CRACK,
    "dent": DENT,
}
"""What the renderer can draw, by the name of the defect."""

_TRIES = 6
_FEWEST_PIXELS = 5
_ON_PART = 0.25  # share of a mask that has to lie on the part that was found
_CLEAR = 0.25  # severity that is tried for: what a glance at the whole picture finds
_FAINTEST = 0.1  # severity; fainter ones are taken for noise


def check_drawable(defect: str, *, fix: str) -> None:
    """Raise `InputError`, with the ``fix``, unless ``defect`` can be drawn without an example."""
    if defect not in KINDS:
        raise InputError("defect", f"one of {', '.join(KINDS)} for procedural", defect, fix)


class ProceduralRenderer:
    """Draws defects on photos of good parts; the same photo and request give the same bytes.

    Args:
        placements: where, how large and how turned defects are, by kind, instead of the kinds' own (`learn_placement`).

    >>> from pathlib import Path
    >>> from defectory.vision.photos import load_photo
    >>> photo = load_photo(Path("parts/normal/flange-000.png"))
    >>> result = ProceduralRenderer().render(photo, RenderRequest("scratch", seed=7))
    >>> result.image.shape, bool(result.mask.any())
    ((256, 256, 3), True)
    """

    def __init__(self, placements: Mapping[str, Placement] | None = None) -> None:
        self._placements = dict(placements or {})

    @property
    def name(self) -> RendererName:
        """``procedural``."""
        return "procedural"

    @property
    def needs_photo(self) -> bool:
        """True: it changes a photo."""
        return True

    def render(self, photo: Photo | None, request: RenderRequest) -> RenderResult:
        """Draw the defect; see `Renderer.render`.

        The cost follows the defect's size, not the photo's: all drawing is done in a cut-out around it.
        """
        check_drawable(request.defect, fix="Other kinds need another renderer.")
        kind = KINDS[request.defect]
        if photo is None:
            raise InputError("source", "a photo of a good part, as the procedural renderer changes photos")
        scene = _Scene.of(photo, request, kind)
        placement = self._placements.get(request.defect, kind.placement)
        seed = hashlib.sha256(f"{photo.digest}/{request.defect}/{request.seed}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(seed, np.uint32))
        best: _Try | None = None
        for number in range(_TRIES):
            mask = request.mask
            if mask is None and kind.find is not None and request.defect not in self._placements:
                mask = kind.find(rng, photo.image, scene.region)
            spot = _spot(rng, placement, scene) if mask is None else spot_of(mask)
            attempt = _try(rng, kind, scene, mask, spot, 1 + 0.4 * number)
            if attempt is not None and (best is None or attempt.severity > best.severity):
                best = attempt
            if best is not None and best.severity >= _CLEAR:
                break
        if best is not None:
            return best.on(photo)
        raise RenderError(
            f"{request.defect} on {photo.name or 'the photo'}: none of {_TRIES} tries could be seen. "
            "Try another seed, or a larger mask."
        )


@dataclass(frozen=True, slots=True)
class _Scene:
    """A photo, its part, where the defect may be, whether somebody said so, the light and the camera's view."""

    photo: Photo
    part: Mask
    region: Mask
    bounded: bool
    lamp: Lamp
    view: View

    @classmethod
    def of(cls, photo: Photo, request: RenderRequest, kind: DefectKind) -> _Scene:
        region = allowed_region(photo, request)
        bounded = photo.region is not None or request.mask is not None
        part = region
        if photo.region is not None:
            part = photo.region
        elif request.mask is not None:
            part = find_part(photo.image)
        # A region drawn by hand may be an ellipse, whatever the part is.
        view = View.of(part) if photo.region is None else View()
        if photo.region is None and request.mask is not None and not kind.past_outline:
            on_part = np.minimum(request.mask, part)
            # Masks are drawn by hand, past the outline too; one that hardly meets the part says that it was not found.
            if np.count_nonzero(on_part) >= _ON_PART * np.count_nonzero(request.mask):
                region = on_part
        return cls(photo, part, region, bounded, Lamp.of(photo.image, part), view)


@dataclass(frozen=True, slots=True)
class _Try:
    """A drawn defect: the photo's cut-out at ``left`` and ``top`` with it, and its mask there."""

    left: int
    top: int
    image: Image
    mask: Mask
    severity: float
    parameters: dict[str, JsonValue]

    def on(self, photo: Photo) -> RenderResult:
        """The whole picture."""
        height, width = self.mask.shape
        place = np.s_[self.top : self.top + height, self.left : self.left + width]
        image, mask = photo.image.copy(), np.zeros(photo.image.shape[:2], np.uint8)
        image[place], mask[place] = self.image, self.mask
        return RenderResult(image, mask, self.severity, self.parameters)


def _spot(rng: np.random.Generator, placement: Placement, scene: _Scene) -> Spot:
    spot = placement.draw(rng, scene.region, scene.photo.image)
    # What was learned from masks was seen by the same camera.
    return spot if placement.of_photo else spot.seen(scene.view)


def _try(
    rng: np.random.Generator, kind: DefectKind, scene: _Scene, mask: Mask | None, spot: Spot, boldness: float
) -> _Try | None:
    """Draw the defect once; None where nothing of it can be seen."""
    photo, region = scene.photo, scene.region
    height, width = region.shape
    reach = kind.reach * max(spot.length, spot.width) + 12
    left, top = max(0, int(spot.x - reach)), max(0, int(spot.y - reach))
    right, bottom = min(width, int(spot.x + reach) + 2), min(height, int(spot.y + reach) + 2)
    if right - left < 8 or bottom - top < 8:
        return None
    place = np.s_[top:bottom, left:right]
    cutout = np.ascontiguousarray(photo.image[place])
    allowed = np.ascontiguousarray(region[place])
    surface = Surface.of(photo.image, scene.part, (left, top, right - left, bottom - top), scene.lamp)
    canvas = Canvas(
        light=to_light(cutout),
        part=feathered(allowed, 1 + surface.sharpness),
        body=scene.part[place],
        spot=Spot(spot.x - left, spot.y - top, spot.length, spot.width, spot.angle, spot.at_edge),
        surface=surface,
        mask=None if mask is None else mask[place],
        boldness=boldness,
        photo=photo,
        left=left,
        top=top,
    )
    defect = kind.draw(rng, canvas)
    weight = np.ones_like(canvas.part) if kind.past_outline and not scene.bounded else canvas.part
    changed = to_levels(canvas.light + weight[..., None] * (defect.light - canvas.light))
    changed_mask = changed_pixels(cutout, changed, defect.extent * weight)
    severity = severity_of(cutout, changed, changed_mask, pixels=region.size)
    if np.count_nonzero(changed_mask) < _FEWEST_PIXELS or severity < _FAINTEST:
        return None
    return _Try(left, top, changed, changed_mask, severity, _parameters(spot, defect, surface))


def _parameters(spot: Spot, defect: Drawn, surface: Surface) -> dict[str, JsonValue]:
    return {
        "x": round(spot.x, 1),
        "y": round(spot.y, 1),
        "length": round(spot.length, 1),
        "angle_degrees": round(float(np.degrees(spot.angle)) % 360, 1),
        "light_degrees": round(float(np.degrees(surface.light)) % 360, 1),
        **defect.parameters,
    }
