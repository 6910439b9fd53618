"""Transplant: move a real, masked defect onto photos of good parts, as the contrast it makes with its surroundings.

What the surface would look like without the defect is filled in from around it, on the donor and on the target; the
defect is the ratio of donor to filling, and the target's filling times that ratio is the picture.  With smooth fillings
that is Poisson cloning (Pérez et al., "Poisson Image Editing", 2003) of brightness ratios instead of differences, so
that a defect keeps its contrast in another light.  It goes where the surroundings resemble those it was cut from: a
broken edge to an edge, a crack along the grain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from defectory.errors import InputError, RenderError
from defectory.images.renderers import RendererName, RenderRequest, RenderResult
from defectory.images.renderers.patches import (
    DARK,
    KIND,
    MIN_PIXELS,
    SEARCHED_SIDE,
    Donor,
    Patch,
    blur_layers,
    cut_patches,
    disc,
    donors_of,
    fill_smoothly,
    kind_of,
    logarithm,
    texture_of,
)
from defectory.images.renderers.regions import allowed_region
from defectory.vision.arrays import Field, Mask
from defectory.vision.blending import severity_of
from defectory.vision.photos import Photo

__all__ = ["KIND", "MIN_PIXELS", "Donor", "TransplantRenderer", "donors_of", "kind_of"]

SCALES, GAINS, GRAINED_TURN, TURN = (0.6, 1.5), (0.75, 1.35), 8.0, 30.0
"""How far a defect is changed: in size, in contrast, in degrees turned on surfaces with grain and without."""

_TRIES = 6
_SIMILAR, _UNLIKE = 0.12, 0.8
"""Surroundings this much worse than the best (in logarithms of brightness) are as good; worse than this are unlike."""


class TransplantRenderer:
    """Moves defects from ``donors`` onto photos; the same photo and request give the same picture.

    ``unusable`` says of each donor that cannot be used why, such as a mask of almost the whole photo.

    >>> from pathlib import Path
    >>> from defectory import load_dataset, load_image, read_mask
    >>> from defectory.vision.photos import load_photo
    >>> scratched = next(r for r in load_dataset(Path("parts")).anomalous if "scratch" in r.path.name)
    >>> donor = Donor("a", "scratch", load_image(scratched.path), read_mask(scratched))
    >>> photo = load_photo(Path("parts/normal/flange-000.png"))
    >>> result = TransplantRenderer([donor]).render(photo, RenderRequest("scratch", seed=7))
    >>> result.image.shape == photo.image.shape
    True
    """

    def __init__(self, donors: Sequence[Donor]) -> None:
        """Prepare the donors.

        Raises:
            InputError: none of them can be used.
        """
        self._patches: dict[str, list[Patch]] = {}
        unusable = []
        for donor in donors:
            try:
                self._patches.setdefault(donor.kind, []).extend(cut_patches(donor))
            except InputError as error:
                unusable.append(str(error))
        self.unusable = tuple(unusable)
        if not any(self._patches.values()):
            got = unusable[0] if unusable else 0
            fix = "Give photos of defects and their masks, or choose the procedural renderer."
            raise InputError("donors", "at least one photo of a defect with its mask", got, fix)

    @property
    def name(self) -> RendererName:
        """What it is called in plans, records and commands."""
        return "transplant"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of defect that can be ordered."""
        return tuple(sorted(kind for kind, patches in self._patches.items() if patches))

    @property
    def needs_photo(self) -> bool:
        """It changes photos of good parts."""
        return True

    def render(self, photo: Photo | None, request: RenderRequest) -> RenderResult:
        """Make the picture; ``parameters`` name the donor and say how its defect was changed.

        Raises:
            InputError: there is no photo, or no donor of the kind, or the request's mask does not fit the photo.
            RenderError: nowhere on the photo are surroundings like the donor's, or the defect would not be seen there.
        """
        if photo is None:
            raise InputError("photo", "a photo of a good part; defects are moved onto it")
        patches = self._patches.get(request.defect)
        if not patches:
            fix = "Give a masked photo of such a defect, or choose the procedural renderer."
            raise InputError("defect", f"one that a donor shows: {', '.join(self.kinds)}", request.defect, fix)
        allowed = allowed_region(photo, request)
        rng = np.random.default_rng(request.seed)
        patch = patches[int(rng.integers(len(patches)))]
        pose = _fit_to(patch, allowed, rng) if request.mask is not None else _search(patch, photo, allowed, rng)
        return _compose(patch, photo, pose, request, rng)


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where the defect goes: ``matrix`` (2x2) turns, scales and mirrors it; ``top`` and ``left`` place its window of
    ``height`` and ``width``; ``mismatch`` tells how well the surroundings agree.
    """

    matrix: NDArray[np.float64]
    top: int
    left: int
    height: int
    width: int
    mismatch: float
    turn: float
    scale: float
    mirrored: bool
    limit: Mask | None = None


def _search(patch: Patch, photo: Photo, allowed: Mask, rng: np.random.Generator) -> _Pose:
    """The place, of a few ways to turn and scale the defect, drawn from those whose surroundings are most alike."""
    height, width = photo.image.shape[:2]
    shrink = min(1.0, SEARCHED_SIDE / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    scene = logarithm(np.asarray(cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA), np.uint8))
    part = np.asarray(cv2.resize((allowed > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    needed = 0.95 if photo.region is not None else 0.9 * patch.on_part
    own_place = rng.random() < 0.5
    poses = [_draw(patch, (height, width), rng) for _ in range(_TRIES)]
    candidates = []
    for pose in poses:
        small = _shrunk(patch, pose, size, shrink)
        unlike, share = _mismatch(scene, part, *small)
        unlike[share < needed] = np.inf
        _keep_borders(unlike, patch, pose)
        if own_place:
            unlike += _distance(unlike.shape, small[1].shape, size, patch, pose)
        candidates.append((unlike, pose))
    best = min((float(unlike.min()) for unlike, _ in candidates), default=math.inf)
    if best > _UNLIKE:
        got = "nowhere" if math.isinf(best) else f"a difference of {best:.2f}, {_UNLIKE} at most"
        raise RenderError(
            f"{photo.name}: no place resembles what surrounds the {patch.donor.kind} of {patch.donor.name} ({got})."
        )
    options = [
        (pose, y, x, unlike[y, x])
        for unlike, pose in candidates
        for y, x in np.argwhere(unlike <= best + _SIMILAR).tolist()
    ]
    pose, y, x, mismatch = options[int(rng.integers(len(options)))]
    top, left = (round((at + rng.random() - 0.5) / shrink) if shrink < 1 else at for at in (y, x))
    top = min(max(top, 0), height - pose.height)
    left = min(max(left, 0), width - pose.width)
    at_top, at_bottom, at_left, at_right = _borders(patch, pose)
    top = 0 if at_top else height - pose.height if at_bottom else top
    left = 0 if at_left else width - pose.width if at_right else left
    return replace(pose, top=top, left=left, mismatch=float(mismatch))


def _draw(patch: Patch, shape: tuple[int, int], rng: np.random.Generator) -> _Pose:
    """A way to turn, scale and mirror the defect, by which its window fits into a photo of ``shape``."""
    height, width = patch.mask.shape
    ratio = min(shape) / min(patch.donor.mask.shape)
    # Photos of about the same size show the part at the same scale; others are taken to show it at their own.
    usual = 1.0 if 1 / 1.5 < ratio < 1.5 else ratio
    scale = usual * math.exp(rng.uniform(*np.log(SCALES)))
    stretch = math.exp(rng.uniform(-0.1, 0.1))
    flips = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    turn = float(rng.uniform(-1, 1) * (GRAINED_TURN if patch.grained else TURN))
    if any(patch.borders):
        turn = 0.0
    elif not patch.grained:
        turn += 90.0 * int(rng.integers(4))
    axes = scale * np.array([stretch, 1 / stretch])
    matrix = _rotation(turn) @ np.diag(flips * axes)
    fits = min(shape[1] / _extent(matrix[0], width, height), shape[0] / _extent(matrix[1], width, height))
    if fits < 1:
        matrix, scale = matrix * fits, scale * fits
    at_top, at_bottom, at_left, at_right = patch.borders
    if at_left and at_right:
        matrix[0, 0] = math.copysign(shape[1] / width, matrix[0, 0])
    if at_top and at_bottom:
        matrix[1, 1] = math.copysign(shape[0] / height, matrix[1, 1])
    rows = min(shape[0], max(1, round(_extent(matrix[1], width, height))))
    columns = min(shape[1], max(1, round(_extent(matrix[0], width, height))))
    return _Pose(matrix, 0, 0, rows, columns, 0.0, turn, scale, bool(flips[0] != flips[1]))


def _fit_to(patch: Patch, place: Mask, rng: np.random.Generator) -> _Pose:
    """The defect on the asked place, its axes on the axes of the place, stretched no more than to twice its shape."""
    (place_y, place_x), places = _spread(place > 0)
    (own_y, own_x), own = _spread(patch.mask > 0)
    (to_values, to_axes), (from_values, from_axes) = np.linalg.eigh(places), np.linalg.eigh(own)
    axes = np.sqrt(to_values / from_values)
    scale = float(np.sqrt(axes.prod()))
    axes = np.clip(axes, scale / math.sqrt(2), scale * math.sqrt(2))
    flips = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    matrix = to_axes @ np.diag(axes * flips) @ from_axes.T
    height, width = patch.mask.shape
    rows, columns = (max(1, math.ceil(_extent(line, width, height))) for line in matrix[::-1])
    shift = matrix @ np.array([own_x - (width - 1) / 2, own_y - (height - 1) / 2])
    top = round(place_y - shift[1] - (rows - 1) / 2)
    left = round(place_x - shift[0] - (columns - 1) / 2)
    turn = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    reach = max(2.0, 0.1 * math.sqrt(float((place > 0).sum())))
    near = cv2.distanceTransform((place == 0).astype(np.uint8), cv2.DIST_L2, 3) <= reach
    mirrored = bool(np.linalg.det(matrix) < 0)
    return _Pose(matrix, top, left, rows, columns, 0.0, turn, scale, mirrored, near.astype(np.uint8))


def _compose(patch: Patch, photo: Photo, pose: _Pose, request: RenderRequest, rng: np.random.Generator) -> RenderResult:
    """Lay the defect on the photo; only its window is computed."""
    height, width = photo.image.shape[:2]
    field = _deformation(patch, pose, rng)
    layers = np.dstack([patch.contrast, patch.mask, patch.reach])
    moved = _warp(layers, pose.matrix, (pose.height, pose.width), field, replicate=any(patch.borders))
    top, left = max(0, pose.top), max(0, pose.left)
    bottom, right = min(height, pose.top + pose.height), min(width, pose.left + pose.width)
    if bottom - top < 2 or right - left < 2:
        raise RenderError(f"{photo.name}: the {request.defect} of {patch.donor.name} would lie outside the photo.")
    moved = moved[top - pose.top : bottom - pose.top, left - pose.left : right - pose.left]
    window = np.s_[top:bottom, left:right]
    contrast, marked, reach = moved[..., :3], moved[..., 3], moved[..., 4]
    for limit in (pose.limit, photo.region):
        if limit is not None:
            reach = reach * cv2.GaussianBlur((limit[window] > 0).astype(np.float32), (0, 0), 1.0)
    view = logarithm(photo.image[window])
    known = reach < 0.02
    if known.sum() < MIN_PIXELS:
        raise RenderError(f"{photo.name}: the {request.defect} of {patch.donor.name} leaves nothing of the photo.")
    texture = texture_of(view, known)
    # On a calm surface a defect shows more than on a rough one; it is made to show about as much.
    gain = float(np.clip(math.sqrt(texture / patch.texture), 0.75, 1.35)) * rng.uniform(*GAINS)
    laid = view + reach[..., None] * (fill_smoothly(view, known) - view + gain * contrast)
    pixels = np.clip(np.rint(np.exp(laid) - DARK), 0, 255).astype(np.uint8)
    image = photo.image.copy()
    image[window] = np.where(reach[..., None] > 0, pixels, image[window])
    mask = np.zeros((height, width), np.uint8)
    mask[window] = _visible(logarithm(image[window]) - view, marked, reach, texture)
    if mask.sum() == 0:
        raise RenderError(f"{photo.name}: the {request.defect} of {patch.donor.name} would hardly be seen there.")
    parameters: dict[str, JsonValue] = {
        "donor": patch.donor.digest,
        "donor_name": patch.donor.name,
        "scale": round(pose.scale, 3),
        "turn": round(pose.turn, 1),
        "mirrored": pose.mirrored,
        "gain": round(gain, 3),
        "mismatch": round(pose.mismatch, 3),
    }
    return RenderResult(image, mask, severity_of(photo.image, image, mask), parameters)


def _visible(change: Field, marked: Field, reach: Field, texture: float) -> Mask:
    """The pixels whose change can be seen, as the donor's mask has them; none where too few can."""
    smooth = np.abs(cv2.GaussianBlur(change, (0, 0), 1.0)).max(axis=2)
    visible = (smooth > max(0.04, 0.75 * texture)) & (reach > 0.1)
    outlined = marked >= min(0.5, 0.9 * float(marked.max()))
    # What lies between changed places belongs to the defect, though a stroke of it may look like the surface.
    between = int(np.clip(0.2 * math.sqrt(float(outlined.sum())), 2, 25))
    visible = cv2.morphologyEx(visible.astype(np.uint8), cv2.MORPH_CLOSE, disc(between)) > 0
    visible &= reach > 0.1
    if (visible & outlined).sum() < max(MIN_PIXELS, 0.05 * outlined.sum()):
        return np.zeros(marked.shape, np.uint8)
    extent = outlined & (cv2.dilate(visible.astype(np.uint8), disc(1)) > 0) | visible & (reach > 0.5)
    # Of a defect that is another texture, single grains stand out: there its author's outline says more.
    defect = extent if (extent & outlined).sum() >= 0.5 * outlined.sum() else outlined
    changed = np.abs(change).max(axis=2) > 0
    return np.where(defect & (cv2.dilate(changed.astype(np.uint8), disc(1)) > 0), 255, 0).astype(np.uint8)


def _shrunk(patch: Patch, pose: _Pose, size: tuple[int, int], shrink: float) -> tuple[Field, Field, Field]:
    """Scene, mask and surroundings of the moved patch, as small as the photo that is searched."""
    rows, columns = max(1, round(pose.height * shrink)), max(1, round(pose.width * shrink))
    rows, columns = min(rows, size[1]), min(columns, size[0])
    matrix = pose.matrix * shrink * (patch.mask.shape[1] / patch.outline.shape[1])
    small = _warp(patch.outline, matrix, (rows, columns), None, replicate=any(patch.borders))
    return small[..., :3], small[..., 3], small[..., 4]


def _mismatch(scene: Field, part: Field, template: Field, mask: Field, around: Field) -> tuple[Field, Field]:
    """For each place of the window: how its surroundings differ from the template's, whatever the light, as a root
    mean square of logarithms; and the share of the defect that would be on the part.
    """
    around = np.ascontiguousarray(np.where(around > 0.5, around, 0), np.float32)
    weight = max(float(around.sum()), 1e-6)
    middle = scene.mean(axis=(0, 1))
    grey = bool((np.ptp(scene, axis=2).max() < 1e-4) and (np.ptp(template, axis=2).max() < 0.2))
    squares = np.zeros((scene.shape[0] - mask.shape[0] + 1, scene.shape[1] - mask.shape[1] + 1), np.float32)
    channels = 1 if grey else 3
    for channel in range(channels):
        photo = np.ascontiguousarray(scene[..., channel] - middle[channel])
        donor = np.ascontiguousarray(template[..., channel] - middle[channel])
        cross, own = _correlate(photo, around * donor), float((around * donor * donor).sum())
        mean = (_correlate(photo, around) - float((around * donor).sum())) / weight
        squares += (_correlate(photo * photo, around) - 2 * cross + own) / weight - 0.9 * mean * mean
    marks = np.ascontiguousarray(mask, np.float32)
    share = _correlate(part, marks) / max(float(marks.sum()), 1e-6)
    return np.sqrt(np.maximum(squares / channels, 0)), share + 1e-3


def _distance(
    shape: tuple[int, int], window: tuple[int, int], size: tuple[int, int], patch: Patch, pose: _Pose
) -> Field:
    """How far each place is from where the defect was on its own photo, mirrored as it is now; small against 1."""
    away = []
    for axis, (count, extent, side) in enumerate(zip(shape, window, size[::-1], strict=True)):
        share = patch.centre[axis]
        if pose.matrix[1 - axis, 1 - axis] < 0:
            share = 1 - share
        away.append((np.arange(count) + extent / 2) / side - share)
    return np.asarray(0.5 * np.hypot(away[0][:, None], away[1][None]), np.float32)


def _keep_borders(unlike: Field, patch: Patch, pose: _Pose) -> None:
    """What was cut off at the photo's border is cut off there again, or its straight end would show."""
    at_top, at_bottom, at_left, at_right = _borders(patch, pose)
    if at_top:
        unlike[1:] = np.inf
    elif at_bottom:
        unlike[:-1] = np.inf
    if at_left:
        unlike[:, 1:] = np.inf
    elif at_right:
        unlike[:, :-1] = np.inf


def _borders(patch: Patch, pose: _Pose) -> tuple[bool, bool, bool, bool]:
    """Top, bottom, left and right, mirrored as the defect is; only defects that are not turned have any."""
    top, bottom, left, right = patch.borders
    if pose.matrix[1, 1] < 0:
        top, bottom = bottom, top
    if pose.matrix[0, 0] < 0:
        left, right = right, left
    return top, bottom, left, right


def _spread(marked: NDArray[np.bool_]) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """Middle (y, x) and covariance (of x and y) of the marked pixels, a pixel's own extent included."""
    rows, columns = np.nonzero(marked)
    places = np.stack([columns, rows]).astype(np.float64)
    middle = places.mean(axis=1)
    away = places - middle[:, None]
    return (float(middle[1]), float(middle[0])), away @ away.T / away.shape[1] + np.eye(2) / 12


def _deformation(patch: Patch, pose: _Pose, rng: np.random.Generator) -> Field | None:
    """A gentle, smooth displacement of the source's pixels, ``(h, w, 2)``; none where the defect is cut off."""
    if any(patch.borders):
        return None
    extent = math.sqrt(float((patch.mask > 0).sum()))
    coarse = rng.normal(0, 0.06 * extent, (4, 4, 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (pose.width, pose.height), interpolation=cv2.INTER_CUBIC), np.float32)


def _warp(
    layers: Field, matrix: NDArray[np.float64], shape: tuple[int, int], displacement: Field | None, *, replicate: bool
) -> Field:
    """``layers`` under ``matrix`` about their middle, in a window of ``shape``."""
    height, width = layers.shape[:2]
    smallest = float(np.linalg.svd(matrix, compute_uv=False)[-1])
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    if smallest < 0.9:
        layers = blur_layers(layers, 0.45 / smallest)
    back = np.linalg.inv(matrix)
    x = np.arange(shape[1], dtype=np.float64) - (shape[1] - 1) / 2
    y = np.arange(shape[0], dtype=np.float64)[:, None] - (shape[0] - 1) / 2
    columns = (back[0, 0] * x + back[0, 1] * y + (width - 1) / 2).astype(np.float32)
    rows = (back[1, 0] * x + back[1, 1] * y + (height - 1) / 2).astype(np.float32)
    if displacement is not None:
        columns, rows = columns + displacement[..., 0], rows + displacement[..., 1]
    parts = [layers[..., first : first + 4] for first in range(0, layers.shape[2], 4)]
    moved = [
        cv2.remap(np.ascontiguousarray(part), columns, rows, cv2.INTER_LINEAR, borderMode=border) for part in parts
    ]
    return np.dstack(moved).astype(np.float32)


def _correlate(image: Field, template: Field) -> Field:
    return np.asarray(cv2.matchTemplate(image, np.asarray(template, np.float32), cv2.TM_CCORR), np.float32)


def _rotation(degrees: float) -> NDArray[np.float64]:
    turn = math.radians(degrees)
    return np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def _extent(line: NDArray[np.float64], width: int, height: int) -> float:
    """The width (or height) that a window takes once moved."""
    return float(abs(line[0]) * width + abs(line[1]) * height)
