"""A stage: an empty picture under a camera, with floors, walls and boxes to build places from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.detection.scenes.backgrounds.perspective import NEAREST, Perspective, Point
from defectory.detection.scenes.backgrounds.textures import TILE
from defectory.detection.scenes.raster import times, weigh
from defectory.vision.arrays import Image

Colour = tuple[float, float, float]
Pixels = Sequence[tuple[float, float]]

# Fractions of a pixel, as OpenCV's fixed-point coordinates have them.
_SHIFT = 4
# Nothing lies farther away than this: they overflow.
_FAR = 8000.0 * (1 << _SHIFT)


class Stage:
    """A picture to draw on, in metres; ``lit_from`` is -1 where light comes from the left and 1 from the right.

    ``room`` is the floor that has to be free: so many metres to either side, and ahead.
    """

    def __init__(self, camera: Perspective, room: tuple[float, float], rng: np.random.Generator) -> None:
        self.camera, self.room, self.rng = camera, room, rng
        self.image: Image = np.full((camera.height, camera.width, 3), 128, np.uint8)
        self.lit_from = float(rng.choice([-1.0, 1.0]))

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return float(self.rng.uniform(low, high))

    def fill(self, points: Sequence[Point], colour: Colour) -> None:
        """A flat convex polygon, seen from its front or back."""
        cv2.fillConvexPoly(self.image, _fixed(self.camera.project(points)), colour, cv2.LINE_AA, _SHIFT)

    def panel(self, corner: Point, wide: float, high: float, colour: Colour) -> None:
        """An upright rectangle that faces the camera, from its lower left corner."""
        x, foot, z = corner
        self.fill([(x, foot, z), (x + wide, foot, z), (x + wide, foot + high, z), (x, foot + high, z)], colour)

    def side_panel(self, corner: Point, deep: float, high: float, colour: Colour) -> None:
        """An upright rectangle that runs away from the camera, from its lower near corner."""
        x, foot, z = corner
        self.fill([(x, foot, z), (x, foot, z + deep), (x, foot + high, z + deep), (x, foot + high, z)], colour)

    def line(self, start: Point, end: Point, colour: Colour, wide_m: float) -> None:
        """A line as wide as ``wide_m`` is where it is in the middle."""
        ahead = max((start[2] + end[2]) / 2, NEAREST)
        thickness = min(max(round(wide_m * self.camera.focal / ahead), 1), 60)
        first, last = _fixed(self.camera.project([start, end])).tolist()
        cv2.line(self.image, first, last, colour, thickness, cv2.LINE_AA, _SHIFT)

    def wall(
        self,
        corner: Point,
        along: tuple[float, float],
        high: float,
        tile: tuple[Image, ...],
        colour: Colour,
        metres: float,
    ) -> None:
        """A wall from ``corner`` (its foot), ``along`` so many metres right and ahead, covered with ``tile``.

        Args:
            corner: where it begins.
            along: right and ahead, from there to its other end.
            high: its height in metres.
            tile: the texture, `textures.texture`.
            colour: of the texture's middle grey.
            metres: that a tile spans.
        """
        x, foot, z = corner
        far_x, far_z = x + along[0], max(z + along[1], NEAREST)
        outline = [(x, foot + high, z), (far_x, foot + high, far_z), (far_x, foot, far_z), (x, foot, z)]
        pixels = np.array(self.camera.project(outline), np.float32)
        length = float(np.hypot(*along))
        # As coarse a tile as the picture resolves, or it would glitter.
        seen = max(float(np.linalg.norm(pixels[3] - pixels[0])), 1.0) / high
        level = int(np.clip(np.floor(np.log2(max(TILE / metres / seen, 1.0))), 0, len(tile) - 1))
        side = tile[level].shape[0]
        scale = side / metres
        offset = self.rng.uniform(0, side, 2)
        source = np.array([(0, 0), (length, 0), (length, high), (0, high)]) * scale + offset
        self._cover(tile[level], source.astype(np.float32), pixels, colour)

    def _cover(self, tile: Image, source: NDArray[np.float32], pixels: NDArray[np.float32], colour: Colour) -> None:
        left, top = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(pixels.max(axis=0)), [self.camera.width, self.camera.height]).astype(int)
        if right <= left or bottom <= top or _area(pixels) < 1:
            return
        matrix = cv2.getPerspectiveTransform(source, pixels - np.array([left, top], np.float32))
        size = (int(right - left), int(bottom - top))
        patch = np.asarray(cv2.warpPerspective(tile, matrix, size, borderMode=cv2.BORDER_WRAP), np.uint8)
        patch = times(patch, [level / 128 for level in colour])
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(mask, _fixed((pixels - [left, top]).tolist()), 255, cv2.LINE_8, _SHIFT)
        cv2.copyTo(patch, mask, self.image[top:bottom, left:right])

    def floor(self, tile: tuple[Image, ...], colour: Colour, metres: float, ahead: float) -> None:
        """The floor from the camera to ``ahead`` metres."""
        camera = self.camera
        first = max(int(np.floor(camera.row_of(ahead))), 0)
        rows = np.arange(first, camera.height, dtype=np.float32)
        if not len(rows):
            return
        distance = camera.focal * camera.camera_m / np.maximum(rows - camera.horizon, 0.25)
        # A pixel spans so much of the tile, between how wide and how deep it is.
        span = distance / camera.focal * np.sqrt(np.maximum(distance / camera.camera_m, 1)) * (TILE / metres)
        levels = np.clip(np.floor(np.log2(np.maximum(span, 1))), 0, len(tile) - 1).astype(int)
        turn = self.uniform(-0.12, 0.12) + (np.pi / 4 if self.rng.random() < 0.15 else 0)
        offset = self.rng.uniform(0, 50, 2)
        for level in np.unique(levels):
            band = np.flatnonzero(levels == level) + first
            matrix = self._to_floor(turn, offset, int(band[0]), tile[level].shape[0] / metres)
            size = (camera.width, len(band))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            part = np.asarray(
                cv2.warpPerspective(tile[level], matrix, size, flags=flags, borderMode=cv2.BORDER_WRAP), np.uint8
            )
            self.image[band[0] : band[-1] + 1] = times(part, [value / 128 for value in colour])

    def _to_floor(self, turn: float, offset: NDArray[np.float64], first_row: int, scale: float) -> NDArray[np.float64]:
        """From pixels, whose rows count from ``first_row``, to those of a tile of ``scale`` pixels a metre."""
        camera = self.camera
        middle, horizon = camera.width / 2, camera.horizon - first_row
        # Right and ahead in metres, both times the rows below the horizon.
        right = np.array([camera.camera_m, 0, -middle * camera.camera_m])
        ahead = np.array([0, 0, camera.focal * camera.camera_m])
        below = np.array([0, 1, -horizon])
        across = (np.cos(turn) * right - np.sin(turn) * ahead + offset[0] * below) * scale
        along = (np.sin(turn) * right + np.cos(turn) * ahead + offset[1] * below) * scale
        return np.stack([across, along, below])

    def stripe(self, points: Sequence[tuple[float, float]], wide_m: float, colour: Colour, worn: float = 0.85) -> None:
        """A painted line on the floor, through points (right, ahead); ``worn`` is its opacity."""
        for (x, z), (far_x, far_z) in pairwise(points):
            length = max(float(np.hypot(far_x - x, far_z - z)), 1e-6)
            a, b = -(far_z - z) / length * wide_m / 2, (far_x - x) / length * wide_m / 2
            corners = [(x - a, 0, z - b), (x + a, 0, z + b), (far_x + a, 0, far_z + b), (far_x - a, 0, far_z - b)]
            self.paint_over(corners, colour, worn)

    def paint_over(self, points: Sequence[Point], colour: Colour, opacity: float) -> None:
        """A coat of paint through which the grain below is seen; ``opacity`` 0..1."""
        pixels = np.array(self.camera.project(points))
        left, top = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(pixels.max(axis=0)), [self.camera.width, self.camera.height]).astype(int)
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(mask, _fixed((pixels - [left, top]).tolist()), 255, cv2.LINE_8, _SHIFT)
        part = self.image[top:bottom, left:right]
        solid = np.full_like(part, np.clip(colour, 0, 255).astype(np.uint8))
        cv2.copyTo(cv2.addWeighted(part, 1 - 0.7 * opacity, solid, 0.7 * opacity, 0), mask, part)

    def box(
        self, middle: tuple[float, float], size: Point, colour: Colour, *, turn: float = 0.0, foot: float = 0.0
    ) -> None:
        """A box on the floor: ``middle`` right and ahead, ``size`` wide, high, deep in metres, turned by radians."""
        wide, high, deep = size
        if middle[1] - deep / 2 < NEAREST * 2:
            return
        cosine, sine = np.cos(turn), np.sin(turn)
        corners = [
            (middle[0] + a * cosine - b * sine, middle[1] + a * sine + b * cosine)
            for a, b in ((-wide / 2, -deep / 2), (wide / 2, -deep / 2), (wide / 2, deep / 2), (-wide / 2, deep / 2))
        ]
        if foot == 0.0:
            self.shade_floor(corners, 0.25 + 0.1 * high)
        for place in range(4):
            (x, z), (far_x, far_z) = corners[place], corners[(place + 1) % 4]
            normal = (far_z - z, x - far_x)
            if normal[0] * -x + normal[1] * -z <= 0:
                continue
            length = max(float(np.hypot(*normal)), 1e-6)
            light = 0.72 + 0.2 * self.lit_from * normal[0] / length - 0.12 * normal[1] / length
            self.fill(
                [(x, foot, z), (far_x, foot, far_z), (far_x, foot + high, far_z), (x, foot + high, z)],
                _lit(colour, light),
            )
        if foot + high < self.camera.camera_m:
            self.fill([(x, foot + high, z) for x, z in corners], _lit(colour, 1.1))

    def shade_floor(self, corners: Sequence[tuple[float, float]], reach_m: float) -> None:
        """Dim the floor around what stands on it."""
        middle = np.mean(corners, axis=0)
        away = np.array(corners) - middle
        length = np.maximum(np.hypot(*away.T), 1e-6)[:, None]
        outer = middle + away * (1 + reach_m * 0.5 / length) + [-self.lit_from * reach_m * 0.4, 0]
        pixels = self.camera.project([(float(x), 0.0, float(z)) for x, z in outer])
        self.darken(pixels, 0.45, blur=max(1.0, reach_m * 0.3 * self.camera.focal / max(middle[1], 1)))

    def darken(self, polygon: Pixels, strength: float, blur: float) -> None:
        """Dim a polygon in pixels, softly."""
        pixels = np.array(polygon)
        margin = int(3 * min(blur, 24.0)) + 1
        left, top = np.floor(np.clip(pixels.min(axis=0) - margin, 0, self.image.shape[1::-1])).astype(int)
        right, bottom = np.ceil(np.minimum(pixels.max(axis=0) + margin, self.image.shape[1::-1])).astype(int)
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(mask, _fixed((pixels - [left, top]).tolist()), round(255 * strength), cv2.LINE_AA, _SHIFT)
        shade = ~np.asarray(cv2.blur(cv2.blur(mask, (margin, margin)), (margin, margin)), np.uint8)
        part = self.image[top:bottom, left:right]
        part[:] = weigh(part, shade)


def _fixed(pixels: Pixels) -> NDArray[np.int32]:
    """Pixels as OpenCV's fixed-point coordinates."""
    fixed: NDArray[np.int32] = np.maximum(np.minimum(np.array(pixels) * (1 << _SHIFT), _FAR), -_FAR).astype(np.int32)
    return fixed


def _lit(colour: Colour, light: float) -> Colour:
    return tuple(min(255.0, max(0.0, level * light)) for level in colour)  # type: ignore[return-value]


def _area(pixels: NDArray[np.floating]) -> float:
    return float(abs(cv2.contourArea(pixels.astype(np.float32))))
