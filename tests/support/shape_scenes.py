"""Scenes of code-drawn shapes with true boxes: what detectors are tested on, in the format of ``detect compose``.

Variants (proportions, hues), angles and backgrounds of "train" and "test" are drawn from ranges that do not meet.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from defectory.datasets.annotations import box_of, encode_runs

LABELS = ("safety_cone", "tote", "step_ladder", "trash_can", "person")
"""What there are shapes of."""

MIN_VISIBLE = 0.25
_SIDE = 160
Colour = tuple[int, int, int]


def _colour(
    rng: np.random.Generator, hue: float, spread: float = 0.03, light: tuple[float, float] = (0.6, 1)
) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(
        (hue + rng.uniform(-spread, spread)) % 1, rng.uniform(0.6, 1), rng.uniform(*light)
    )
    return int(red * 255), int(green * 255), int(blue * 255)


def _cone(draw: ImageDraw.ImageDraw, rng: np.random.Generator, test: bool) -> None:
    colour, base = _colour(rng, 0.05), rng.uniform(30, 38) if test else rng.uniform(38, 48)
    draw.polygon([(80 - base, 140), (80 - 7, 10), (80 + 7, 10), (80 + base, 140)], fill=colour)
    for low, high in ((0.35, 0.5), (0.65, 0.75)):
        reach = [7 + (base - 7) * share for share in (low, high)]
        top, bottom = 10 + 130 * low, 10 + 130 * high
        draw.polygon(
            [(80 - reach[0], top), (80 + reach[0], top), (80 + reach[1], bottom), (80 - reach[1], bottom)],
            fill=(235, 235, 230),
        )
    draw.rectangle([80 - base - 12, 138, 80 + base + 12, 150], fill=(30, 30, 34) if test else colour)


def _tote(draw: ImageDraw.ImageDraw, rng: np.random.Generator, test: bool) -> None:
    colour = _colour(rng, 0.62 if test else 0.58, 0.02)
    dark = (colour[0] // 2, colour[1] // 2, colour[2] // 2)
    height, slope = rng.uniform(45, 60) if test else rng.uniform(60, 80), rng.uniform(4, 14)
    top, bottom = 80 - height / 2, 80 + height / 2
    draw.polygon([(10, top), (150, top), (150 - slope, bottom), (10 + slope, bottom)], fill=colour)
    draw.rectangle([6, top - 4, 154, top + 8], fill=dark)
    for place in range(30, 150, 24 if test else 30):
        draw.line([(place, top + 12), (place, bottom - 4)], fill=dark, width=3)


def _ladder(draw: ImageDraw.ImageDraw, rng: np.random.Generator, test: bool) -> None:
    colour = _colour(rng, 0.14 if test else 0.11, 0.02)
    reach, rungs = rng.uniform(30, 40) if test else rng.uniform(40, 52), 4 if test else int(rng.integers(5, 7))
    for side in (-1, 1):
        draw.line([(80 + side * 14, 8), (80 + side * reach, 152)], fill=colour, width=9)
    for share in np.linspace(0.1, 0.9, rungs):
        half = 14 + (reach - 14) * share
        draw.rectangle([80 - half, 8 + 144 * share - 4, 80 + half, 8 + 144 * share + 4], fill=(150, 150, 155))


def _can(draw: ImageDraw.ImageDraw, rng: np.random.Generator, test: bool) -> None:
    colour, half = _colour(rng, 0.36 if test else 0.32, 0.03, (0.3, 0.6)), rng.uniform(34, 50)
    draw.polygon([(80 - half, 36), (80 + half, 36), (80 + half - 9, 152), (80 - half + 9, 152)], fill=colour)
    draw.ellipse([80 - half - 5, 14, 80 + half + 5, 58], fill=tuple(min(255, part + 40) for part in colour))
    draw.ellipse([80 - half + 9, 24, 80 + half - 9, 50], fill=(20, 22, 20) if test else (60, 66, 60))


def _person(draw: ImageDraw.ImageDraw, rng: np.random.Generator, test: bool) -> None:
    skin = (200, 150, 120) if test else (140, 95, 70)
    shirt, trousers = _colour(rng, rng.uniform(0, 1)), _colour(rng, 0.63, 0.05, (0.2, 0.5))
    step = rng.uniform(4, 18)
    draw.polygon([(70, 84), (90, 84), (80 + step, 154), (70 + step, 154)], fill=trousers)
    draw.polygon([(70, 84), (90, 84), (90 - step, 154), (80 - step, 154)], fill=trousers)
    draw.rounded_rectangle([60, 32, 100, 92], 12, fill=shirt)
    for side in (-1, 1):
        draw.line([(80 + side * 18, 40), (80 + side * (22 + step), 90)], fill=skin if test else shirt, width=11)
    draw.ellipse([68, 6, 92, 34], fill=skin)
    draw.pieslice([66, 2, 94, 32], 180, 360, fill=(50, 35, 25))


def _blob(draw: ImageDraw.ImageDraw, rng: np.random.Generator, test: bool) -> None:
    """What belongs to no class: a distractor."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    points = [(80 + rng.uniform(25, 72) * np.cos(angle), 80 + rng.uniform(25, 72) * np.sin(angle)) for angle in angles]
    draw.polygon(points, fill=_colour(rng, rng.uniform(0, 1), light=(0.2, 1)))
    draw.line(points, fill=_colour(rng, rng.uniform(0, 1)), width=int(rng.integers(2, 9)))


_SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, np.random.Generator, bool], None]] = {
    "safety_cone": _cone,
    "tote": _tote,
    "step_ladder": _ladder,
    "trash_can": _can,
    "person": _person,
    "": _blob,
}


def draw_shape(label: str, rng: np.random.Generator, split: str) -> Image.Image:
    """An RGBA cut-out, shaded from one side, tilted a little and tight to its pixels; "" is a distractor."""
    picture = Image.new("RGBA", (_SIDE, _SIDE))
    _SHAPES[label](ImageDraw.Draw(picture), rng, split == "test")
    pixels = np.asarray(picture, np.float32).copy()
    pixels[..., :3] *= np.linspace(rng.uniform(0.6, 1), rng.uniform(0.8, 1.15), _SIDE)[None, :, None]
    pixels[..., :3] += rng.normal(0, 6, pixels.shape[:2])[..., None]
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")
    picture = picture.rotate(rng.uniform(-12, 12), expand=True, resample=Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture.crop(picture.getchannel("A").getbbox())


def draw_background(rng: np.random.Generator, size: int, split: str) -> Image.Image:
    """A wall and a floor with boards, boxes and pipes, grainy."""
    hue = rng.uniform(0.5, 1) if split == "test" else rng.uniform(0, 0.5)
    canvas = Image.new("RGB", (size, size), _colour(rng, hue, light=(0.3, 0.9)))
    draw = ImageDraw.Draw(canvas)
    horizon = int(size * rng.uniform(0.2, 0.6))
    draw.rectangle([0, horizon, size, size], fill=_colour(rng, hue + 0.1, light=(0.3, 0.8)))
    for _ in range(int(rng.integers(6, 20))):
        corner = rng.uniform(0, size, 2)
        extent = rng.uniform(0.02, 0.5, 2) * size
        draw.rectangle([*corner, *(corner + extent)], fill=_colour(rng, hue, 0.2, (0.2, 0.9)))
    for _ in range(int(rng.integers(2, 12))):
        draw.line([*rng.uniform(0, size, 4)], fill=_colour(rng, hue, 0.3, (0.1, 0.9)), width=int(rng.integers(1, 7)))
    return canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


def compose(
    rng: np.random.Generator,
    split: str,
    *,
    size: int = 256,
    labels: Sequence[str] = LABELS,
    backgrounds: Sequence[Image.Image] = (),
    shape: Callable[[str, np.random.Generator, str], Image.Image] = draw_shape,
) -> tuple[NDArray[np.uint8], list[dict[str, Any]], dict[str, str]]:
    """One scene: its picture, its objects as ``scenes.jsonl`` has them, and its conditions."""
    canvas = backgrounds[rng.integers(len(backgrounds))].copy() if backgrounds else draw_background(rng, size, split)
    owner, placed = np.zeros((size, size), np.int32), []
    for number in range(1, int(rng.integers(2, 8)) + 1):
        label = "" if rng.random() < 0.3 else labels[rng.integers(len(labels))]
        cut = shape(label, rng, split)
        scale = np.exp(rng.uniform(np.log(0.12), np.log(0.55))) * size / max(cut.size)
        cut = cut.resize((max(4, round(cut.width * scale)), max(4, round(cut.height * scale))), Image.Resampling.BOX)
        left, top = (int(rng.integers(-side // 4, size - 3 * side // 4)) for side in cut.size)
        layer = Image.new("L", (size, size))
        layer.paste(cut.getchannel("A"), (left, top))
        pixels = np.asarray(cut).copy()
        pixels[..., :3] = np.clip(pixels[..., :3] * rng.uniform(0.7, 1.15), 0, 255)
        canvas.paste(Image.fromarray(pixels, "RGBA"), (left, top), Image.fromarray(pixels, "RGBA"))
        mask = np.asarray(layer) > 127
        owner[mask] = number
        placed.append((number, label, int((np.asarray(cut)[..., 3] > 127).sum()), int(mask.sum())))
    light = "dim" if rng.random() < 0.3 else "even"
    image = np.asarray(canvas, np.float32) * (0.5 if light == "dim" else 1) + rng.normal(0, 5, (size, size, 1))
    objects = []
    for number, label, whole, inside in placed:
        seen = owner == number
        if not label or seen.sum() < MIN_VISIBLE * whole or not seen.any():
            continue
        objects.append(
            {
                "label": label,
                "box": list(box_of(seen) or ()),
                "runs": list(encode_runs(seen)),
                "area": int(seen.sum()),
                "visible": float(seen.sum() / whole),
                "truncated": float(1 - inside / whole),
                "cutout": label,
            }
        )
    return np.clip(image, 0, 255).astype(np.uint8), objects, {"light": light}


def write_scenes(
    folder: Path, count: int, split: str, *, seed: int = 0, size: int = 256, labels: Sequence[str] = LABELS, **how: Any
) -> Path:
    """A folder of ``count`` scenes: ``images/``, ``scenes.jsonl`` and ``classes.json``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps(list(labels)))
    rng = np.random.default_rng((seed, split == "test"))
    with (folder / "scenes.jsonl").open("w") as lines:
        for number in range(count):
            image, objects, conditions = compose(rng, split, size=size, labels=labels, **how)
            name = f"{split}-{number:05d}"
            Image.fromarray(image).save(folder / "images" / f"{name}.png", compress_level=1)
            record = {"image_id": name, "file": f"images/{name}.png", "width": size, "height": size, "split": split}
            record |= {"objects": objects, "conditions": conditions}
            record |= {"layout": {"image_id": name, "size": [size, size], "seed": seed}}
            lines.write(json.dumps(record) + "\n")
    return folder
