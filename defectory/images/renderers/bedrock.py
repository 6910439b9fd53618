"""The Bedrock renderers: generative models paint the defect, in three ways.

``bedrock-inpaint`` paints into one place of a photo, ``bedrock-image-to-image`` starts from the photo as a whole, and
``bedrock-zero-shot`` has only a text.  From the first two only the defect is kept: every other pixel stays the photo's,
because models change a little everywhere and invent what nobody labels.  The mask is where the picture really differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import JsonValue

from defectory.aws.image_models import (
    STABILITY_GROWS_MASK,
    GeneratedImage,
    ImageModel,
    ImageRequest,
    Task,
)
from defectory.errors import InputError, RenderError
from defectory.images.placement import Placement, Spot
from defectory.images.prompts import MODES, Mode, Prompt, Prompts, load_prompts
from defectory.images.renderers import RendererName, RenderRequest, RenderResult
from defectory.images.renderers.names import BEDROCK_RENDERERS, needs_photo
from defectory.images.renderers.procedural import KINDS
from defectory.images.renderers.regions import allowed_region
from defectory.vision.arrays import Image, Mask
from defectory.vision.blending import VISIBLE, severity_of
from defectory.vision.mask_refinement import blend, refine_mask
from defectory.vision.photos import Photo

TASKS: Mapping[Mode, Task] = {
    "zero-shot": "text-to-image",
    "image-to-image": "image-to-image",
    "inpaint": "inpaint",
}
"""What a model has to be able to do for each mode."""

STRENGTH = 0.5
"""How far image-to-image may leave the photo, unless told otherwise: 0 (not at all) to 1 (altogether)."""

_CONTEXT = 3.0  # sides of the window that is painted in, in lengths of the defect: models need to see what is around
_LEAST_WINDOW = 256
_COMPARED_SIDE = 2048  # larger windows are reduced to this: models make no larger pictures
_MOST_CHANGED = 0.5  # of the part; a defect that takes more is another part
_MOST_NOISE = 10.0  # the usual difference in CIELAB from which on nothing can be told from it


class BedrockRenderer:
    """Has a model make pictures of defects.

    Args:
        mode: ``inpaint``, ``image-to-image`` or ``zero-shot``.
        model: what paints; it has to be able to do ``TASKS[mode]``.
        prompts: what it is told; ours by default.
        strength: how far image-to-image may leave the photo, 0..1.
        placements: where defects are, by kind, when an request has no mask, instead of the kinds' own.

    Raises:
        InputError: the model cannot do what the mode needs.
    """

    def __init__(
        self,
        mode: Mode,
        model: ImageModel,
        prompts: Prompts | None = None,
        *,
        strength: float = STRENGTH,
        placements: Mapping[str, Placement] | None = None,
    ) -> None:
        if mode not in TASKS:
            raise InputError("mode", f"one of {', '.join(MODES)}", mode)
        if TASKS[mode] not in model.tasks:
            fix = f"It can do {', '.join(sorted(model.tasks))}."
            raise InputError("model_id", f"a model for {TASKS[mode]}, as {mode} needs", model.model_id, fix)
        if not 0 < strength <= 1:
            raise InputError("strength", "a number above 0 and up to 1", strength)
        self._mode, self._model, self._prompts = mode, model, prompts or load_prompts()
        self._strength, self._placements = strength, dict(placements or {})

    @property
    def name(self) -> RendererName:
        """``bedrock-`` and the mode."""
        return BEDROCK_RENDERERS[self._mode]

    @property
    def needs_photo(self) -> bool:
        """True, unless the picture is made from a text."""
        return needs_photo(self.name)

    def render(self, photo: Photo | None, request: RenderRequest) -> RenderResult:
        """Have the picture made; see `Renderer.render`.

        Where nothing can be seen of a defect, the mask is empty.  Seeds are passed on, but models may change, and with
        them their pictures.
        """
        prompt = self._prompts.write(request.defect, self._mode, request.prompt)
        if self._mode == "zero-shot":
            return self._from_text(photo, request, prompt)
        if photo is None:
            raise InputError("source", f"a photo of a good part, as {self.name} starts from one")
        region = allowed_region(photo, request)
        if request.mask is not None and request.mask.all():
            fix = "White is where the defect is to be, black stays as it is."
            raise InputError("mask", "a mask that leaves some of the photo as it is", "a full mask", fix)
        if self._mode == "inpaint":
            return self._inpaint(photo, request, prompt, region)
        return self._painted(photo, request, prompt, region, _Window.all_of(region), None)

    def _from_text(self, photo: Photo | None, request: RenderRequest, prompt: Prompt) -> RenderResult:
        if request.mask is not None:
            fix = "Use inpaint to say where the defect is to be."
            raise InputError("mask", "left out, as a picture from a text has its defect anywhere", fix=fix)
        aspect = 1.0 if photo is None else photo.image.shape[1] / photo.image.shape[0]
        generated = self._model.generate(self._request(request, prompt, aspect=aspect))
        return RenderResult(generated.image, None, 0.0, self._parameters(prompt, generated))

    def _inpaint(self, photo: Photo, request: RenderRequest, prompt: Prompt, region: Mask) -> RenderResult:
        place = request.mask if request.mask is not None else self._place(photo, request, region)
        place = np.where((place > 127) & (region > 0), 255, 0).astype(np.uint8)
        if not place.any():
            raise RenderError(f"{request.defect} on {photo.name or 'the photo'}: no place was found. Try another seed.")
        return self._painted(photo, request, prompt, region, _Window.around(place), place)

    def _painted(
        self, photo: Photo, request: RenderRequest, prompt: Prompt, region: Mask, window: _Window, place: Mask | None
    ) -> RenderResult:
        """What the model paints in ``window``, into ``place`` or anywhere, put into the photo where it is a defect."""
        cutout, may = window.of(photo.image), window.of(region)
        own = (window.width, window.height)
        scale = min(1.0, _COMPARED_SIDE / max(own))
        size = (round(window.width * scale), round(window.height * scale))
        scaled = _resized(cutout, size)
        scaled_place = None if place is None else _resized_mask(window.of(place), size)
        generated = self._model.generate(self._request(request, prompt, image=scaled, mask=scaled_place))
        allowed = None
        if scaled_place is not None:
            # Models grow the mask for a smooth passage.
            grown = 3 + round(STABILITY_GROWS_MASK * max(1.0, max(size) / 1024))
            allowed = np.minimum(_dilated(scaled_place, grown), _resized_mask(may, size))
        refined = refine_mask(scaled, generated.image, allowed)
        if allowed is None and refined.noise > _MOST_NOISE:
            raise RenderError(
                f"{self._model.model_id} made another picture instead of a defect on {photo.name or 'the photo'}. "
                f"Lower the strength ({self._strength}), or inpaint."
            )
        image, mask = photo.image.copy(), np.zeros_like(region)
        defect_mask = np.where((_resized(refined.mask, own) > 127) & (may > 0), 255, 0).astype(np.uint8)
        changed = np.count_nonzero(defect_mask) / np.count_nonzero(region)
        if request.mask is None and changed > _MOST_CHANGED:
            raise RenderError(
                f"{self._model.model_id} changed {changed:.0%} of {photo.name or 'the photo'}: that is another part, "
                "no defect. Try another seed or a lower strength, or inpaint."
            )
        blended = blend(cutout, _resized(refined.picture, own), defect_mask, may)
        # What the passage around it visibly changes belongs to the defect, too.
        window.of(mask)[:] = np.where(cv2.absdiff(cutout, blended).max(2) >= 2 * VISIBLE, 255, defect_mask)
        window.of(image)[:] = blended
        parameters = self._parameters(prompt, generated) | {
            "shift": [round(offset / scale, 2) for offset in refined.shift],
            "noise": round(refined.noise, 2),
        }
        if place is None:
            parameters["strength"] = self._strength
        else:
            parameters["window"] = [window.left, window.top, window.width, window.height]
        return RenderResult(image, mask, severity_of(photo.image, image, mask), parameters)

    def _place(self, photo: Photo, request: RenderRequest, region: Mask) -> Mask:
        """Where to paint when the request does not say: placed as procedural defects of this kind are."""
        digest = hashlib.sha256(f"{photo.digest}/{request.defect}/{request.seed}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        placement, kind = self._placements.get(request.defect), KINDS.get(request.defect)
        if placement is None and kind is not None:
            component = kind.find(rng, photo.image, region) if kind.find else None
            if component is not None:
                return component
            placement = kind.placement
        return _ellipse((placement or Placement()).draw(rng, region, photo.image), region)

    def _request(
        self,
        request: RenderRequest,
        prompt: Prompt,
        image: Image | None = None,
        mask: Mask | None = None,
        aspect: float = 1.0,
    ) -> ImageRequest:
        return ImageRequest(
            TASKS[self._mode], prompt.text, prompt.negative, request.seed, image, mask, self._strength, aspect
        )

    def _parameters(self, prompt: Prompt, generated: GeneratedImage) -> dict[str, JsonValue]:
        return {
            "model_id": self._model.model_id,
            "region": self._model.region,
            "prompt": prompt.text,
            "negative_prompt": prompt.negative,
            "model_seed": generated.seed,
        }


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of a photo that the model gets to see, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def around(cls, place: Mask) -> _Window:
        """A square around ``place`` with room on all sides, as far as the photo goes."""
        left, top, width, height = cv2.boundingRect(place)
        side = max(_LEAST_WINDOW, round(_CONTEXT * max(width, height)))
        wide, high = min(side, place.shape[1]), min(side, place.shape[0])
        column = min(max(0, left + (width - wide) // 2), place.shape[1] - wide)
        row = min(max(0, top + (height - high) // 2), place.shape[0] - high)
        return cls(column, row, wide, high)

    @classmethod
    def all_of(cls, region: Mask) -> _Window:
        """The whole photo."""
        return cls(0, 0, region.shape[1], region.shape[0])

    def of(self, pixels: Image) -> Image:
        """The window's view of ``pixels``."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def _ellipse(spot: Spot, like: Mask) -> Mask:
    """The spot, wide enough for a model to paint something into it."""
    across = max(spot.width, 0.3 * spot.length, 12.0)
    axes = (round(max(spot.length, across) / 2), round(across / 2))
    place = np.zeros_like(like)
    cv2.ellipse(place, (round(spot.x), round(spot.y)), axes, float(np.degrees(spot.angle)), 0, 360, 255, -1)
    return place


def _dilated(mask: Mask, pixels: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask, kernel).astype(np.uint8)


def _resized(pixels: Image, size: tuple[int, int]) -> Image:
    """``pixels`` at (width, height)."""
    if pixels.shape[1::-1] == size:
        return pixels
    smaller = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC).astype(np.uint8)


def _resized_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """``mask`` at (width, height), without losing what is thinner than a pixel of a smaller one."""
    least = 1 if size[0] < mask.shape[1] else 128
    return np.where(_resized(mask, size) >= least, 255, 0).astype(np.uint8)
