"""The compositor: cut-outs put onto a background as a camera would have seen them there.

Who hides whom is settled first, from the front to the back, in whole masks: what would show too little is left out of
labels and picture alike, and hides nothing.  Then all is painted from the back to the front, each in its window.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from defectory.datasets.annotations import box_of, encode_runs_within
from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.layouts.records import Layout, LayoutObject, Split, View
from defectory.detection.scenes.backgrounds import Backgrounds
from defectory.detection.scenes.backgrounds.perspective import Perspective
from defectory.detection.scenes.camera import expose
from defectory.detection.scenes.clutter import draw_clutter
from defectory.detection.scenes.raster import both, count, times, weigh
from defectory.detection.scenes.records import Scene, SceneObject
from defectory.detection.scenes.shadows import Sun, cast_shadow
from defectory.detection.scenes.sprites import EQUIPMENT, Sprite, choose_cutout, make_sprite
from defectory.errors import InputError
from defectory.vision.arrays import Image, Mask

MIN_VISIBLE = 0.25
"""Share of an object that has to be seen, or it is neither labelled nor painted."""

MIN_PIXELS = 12
"""Pixels that have to be seen of it."""

CLUTTER = "clutter"

# Levels that cut-outs are lit for, and that their mean may reach.
_MIDDLE, _GLARE = 128.0, 205.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A sprite with the pixels of it that are seen, 255 in its window, and those of its parts."""

    sprite: Sprite
    visible: Mask
    parts: tuple[Mask, ...]


@dataclass(frozen=True, slots=True)
class Compositor:
    """Renders scenes from cut-outs.

    Args:
        cutouts: where they come from.
        backgrounds: where scenes are set.
        classes: what is labelled; whatever else is drawn is not.
        split: cut-outs and backgrounds of the other split are never used.
        min_visible: see `MIN_VISIBLE`.
        distractors: most things of other classes, and boxes, that are added to a scene.
    """

    cutouts: CutOutLibrary
    backgrounds: Backgrounds
    classes: tuple[str, ...]
    split: Split = "train"
    min_visible: float = MIN_VISIBLE
    distractors: int = 3
    name: str = "compositor"

    def render(self, layout: Layout) -> Scene:
        """The scene of ``layout``; see `SceneRenderer`.

        Raises:
            InputError: there are no cut-outs of a class, or no such background.
            ImageError: a cut-out or photo cannot be read.
        """
        rng, view = random_of(layout), view_of(layout)
        camera = Perspective.of(view, layout.size)
        available = set(self.cutouts.labels(self.split))
        sprites = self._sprites(layout, camera, available, rng)
        sprites = self._distract(layout, sprites, camera, available, rng)
        seen, dropped = self._settle(sprites, layout)
        room = camera.room(_footprint(entry.sprite) for entry in seen)
        image = self.backgrounds.draw(layout.background, layout.size, view, room, rng)
        _paint(image, seen, layout, rng)
        image = expose(image, layout.conditions, rng)
        return Scene(image, self._objects(seen, layout), layout, dropped)

    def _sprites(
        self, layout: Layout, camera: Perspective, available: set[str], rng: np.random.Generator
    ) -> list[tuple[Sprite | None, str]]:
        """What the layout asks for, each with its label; None for what is nowhere on the canvas."""
        sprites: list[tuple[Sprite | None, str]] = []
        for place, item in enumerate(layout.objects):
            # What is worn comes with its wearer's cut-out.
            if item.worn_by is not None:
                continue
            if item.label not in available:
                rule = f"a class that there are cut-outs of for {self.split} ({', '.join(sorted(available)) or 'none'})"
                raise InputError(f"objects.{place}.label", rule, item.label, "Give cut-outs of it (--cutouts).")
            cutout = choose_cutout(self.cutouts, item, camera, self.split, rng)
            sprites.append((make_sprite(cutout, item, camera, rng), item.label))
        return sprites

    def _distract(
        self,
        layout: Layout,
        sprites: list[tuple[Sprite | None, str]],
        camera: Perspective,
        available: set[str],
        rng: np.random.Generator,
    ) -> list[tuple[Sprite | None, str]]:
        """Add things of no class of the dataset, at their places between the others."""
        # What is worn does not lie about.
        others = sorted(available - {*self.classes, *EQUIPMENT, *(item.label for item in layout.objects)})
        mixed = list(sprites)
        for _ in range(int(rng.integers(0, self.distractors + 1))):
            is_box = not others or rng.random() < 0.4
            item = _somewhere(CLUTTER if is_box else others[int(rng.integers(len(others)))], camera, rng)
            if is_box:
                sprite = draw_clutter(item, camera, rng)
            else:
                cutout = choose_cutout(self.cutouts, item, camera, self.split, rng)
                # Whoever wears what is labelled would have to be labelled as well: that is for layouts to ask for.
                if any(part.label in self.classes for part in cutout.parts):
                    continue
                sprite = make_sprite(cutout, item, camera, rng)
            if sprite is not None:
                mixed.insert(_depth(sprite, mixed), (sprite, ""))
        return mixed

    def _settle(
        self, sprites: Sequence[tuple[Sprite | None, str]], layout: Layout
    ) -> tuple[list[_Seen], dict[str, int]]:
        """Who is seen, and how much of whom; from the back to the front."""
        width, height = layout.size
        covered = np.zeros((height, width), np.uint8)
        seen: list[_Seen] = []
        dropped: Counter[str] = Counter()
        for sprite, label in reversed(sprites):
            looked = sprite and self._look(sprite, covered)
            if not looked:
                if label in self.classes:
                    dropped[label] += 1
                continue
            seen.append(looked)
            cv2.bitwise_or(covered[looked.sprite.window], looked.sprite.mask, dst=covered[looked.sprite.window])
        return seen[::-1], dict(sorted(dropped.items()))

    def _look(self, sprite: Sprite, covered: Mask) -> _Seen | None:
        """The sprite as far as it is not ``covered``; None where that is too little of it or of what it wears."""
        visible = np.asarray(cv2.subtract(sprite.mask, covered[sprite.window]), np.uint8)
        if not self._is_enough(visible, sprite.full):
            return None
        parts = tuple(both(part.mask, visible) for part in sprite.parts)
        for part, mask in zip(sprite.parts, parts, strict=True):
            if part.label in self.classes and mask.any() and not self._is_enough(mask, part.full):
                return None
        return _Seen(sprite, visible, parts)

    def _is_enough(self, visible: Mask, full: int) -> bool:
        pixels = count(visible)
        return pixels >= MIN_PIXELS and pixels >= self.min_visible * full

    def _objects(self, seen: Sequence[_Seen], layout: Layout) -> tuple[SceneObject, ...]:
        objects: list[SceneObject] = []
        for entry in seen:
            sprite, wearer = entry.sprite, None
            if sprite.label in self.classes:
                wearer = len(objects)
                counts = sprite.full, count(sprite.mask)
                objects.append(_object(sprite, sprite.label, entry.visible, counts, layout))
            for part, mask in zip(sprite.parts, entry.parts, strict=True):
                if part.label in self.classes and mask.any():
                    counts = part.full, count(part.mask)
                    worn = _object(sprite, part.label, mask, counts, layout)
                    objects.append(worn.model_copy(update={"worn_by": wearer}))
        return tuple(objects)


def random_of(layout: Layout) -> np.random.Generator:
    """What decides all that a layout leaves open: its seed and its name."""
    return np.random.default_rng([layout.seed, zlib.crc32(layout.image_id.encode())])


def view_of(layout: Layout) -> View:
    """The layout's camera, or where it names none the one of somebody who stands a little above the floor."""
    return layout.view or View(horizon=0.3 * layout.size[1], height_m=2.2)


def _object(sprite: Sprite, label: str, visible: Mask, counts: tuple[int, int], layout: Layout) -> SceneObject:
    """What is said of ``visible`` (in the sprite's window), of ``counts`` pixels in full and on the canvas."""
    full, inside = counts
    box = box_of(visible)
    if box is None:
        raise ValueError(f"{label}: no visible pixel")
    left, top, width, height = box
    tight = visible[top : top + height, left : left + width]
    place = sprite.left + left, sprite.top + top
    area = count(tight)
    return SceneObject(
        label=label,
        box=(*place, width, height),
        runs=encode_runs_within(tight, place, layout.size),
        area=area,
        visible=round(area / full, 4),
        truncated=round(1 - inside / full, 4),
        cutout=sprite.cutout,
    )


def _somewhere(label: str, camera: Perspective, rng: np.random.Generator) -> LayoutObject:
    """A place on the floor for something of about a metre."""
    metres = float(rng.uniform(0.3, 1.2))
    low = max(camera.horizon + 0.08 * camera.height, 0.2 * camera.height)
    foot = float(rng.uniform(min(low, 0.9 * camera.height), 1.05 * camera.height))
    scale = max((foot - camera.horizon) / camera.camera_m, 1.0)
    height = max(metres * scale, 6.0)
    width = height * float(rng.uniform(0.7, 1.5))
    left = float(rng.uniform(-0.3 * width, camera.width - 0.7 * width))
    top = min(foot - height, camera.height - 2.0)
    return LayoutObject(label=label, box=(left, top, width, height), px_per_m=scale)


def _depth(sprite: Sprite, sprites: Sequence[tuple[Sprite | None, str]]) -> int:
    """Its place among those that are painted from the back to the front."""
    if not sprite.stands:
        return 0
    return next(
        (place for place, (other, _) in enumerate(sprites) if other and other.stands and other.foot > sprite.foot),
        len(sprites),
    )


def _footprint(sprite: Sprite) -> tuple[float, float, float]:
    # What lies flat reaches as far as its upper edge.
    return sprite.left, sprite.left + sprite.mask.shape[1], sprite.foot if sprite.stands else float(sprite.top)


def _paint(image: Image, seen: Sequence[_Seen], layout: Layout, rng: np.random.Generator) -> None:
    sun = _sun(layout, rng)
    shade = 0.62 if layout.conditions.light == "backlit" else 1.0
    for entry in seen:
        sprite = entry.sprite
        gain = _light(image, sprite, shade, rng)
        cast_shadow(image, sprite, sun)
        part = image[sprite.window]
        lit = times(sprite.colour, gain)
        # Colours come multiplied by alpha.
        rest = weigh(part, ~sprite.alpha)
        cv2.add(lit, rest, dst=part)


def _sun(layout: Layout, rng: np.random.Generator) -> Sun:
    """How shadows fall: long and towards the camera with light from behind, hardly at all where it is dim."""
    strength = {"bright": 0.5, "backlit": 0.45, "dim": 0.18}.get(layout.conditions.light, 0.28)
    away = rng.uniform(0.06, 0.28)
    return Sun(
        aside=float(rng.uniform(-0.9, 0.9)),
        away=float(-away if layout.conditions.light == "backlit" else away),
        cast=float(strength * rng.uniform(0.6, 1.2)),
        contact=float(rng.uniform(0.35, 0.7)),
        soft=float(rng.uniform(0.015, 0.08)),
    )


def _light(image: Image, sprite: Sprite, shade: float, rng: np.random.Generator) -> list[float]:
    """Gains of red, green and blue by which a sprite looks lit as its place is."""
    around = np.array(cv2.mean(image[sprite.window])[:3])
    level = max(float(around.mean()), 8.0)
    gain: float = np.clip((level / _MIDDLE) ** 0.4, 0.6, 1.3) * rng.uniform(0.85, 1.15) * shade
    tint = (np.maximum(around, 8.0) / level) ** 0.3
    gains = gain * tint * rng.normal(1, 0.015, 3)
    # What is white stays short of glare.
    own = max(cv2.mean(sprite.colour, sprite.mask)[:3])
    balance: list[float] = (gains * min(1.0, _GLARE / max(own * float(gains.max()), 1.0))).tolist()
    return balance
