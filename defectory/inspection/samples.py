"""Sample parts: rendered photographs of a turned flange, good and defective, with masks, for tutorials and the demo.

No photograph of a real product is needed to try everything, and every defect's place is known exactly.  The pictures
vary as a fixed camera's do: the part lies a little turned and shifted, light and exposure wander, the turning marks and
the grain of the table differ from part to part.

```
<folder>/
├── normal/     flange-000.png ...
├── anomaly/    scratch-000.png, dent-000.png, stain-000.png, missing-hole-000.png ...
└── masks/      the same names as in anomaly/, 255 = defect
```
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.vision.arrays import Mask

DEFECTS = ("scratch", "dent", "stain", "missing-hole")
SIDE = 256
_SCALE = 3  # supersampling: edges are antialiased by shrinking

Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where the part lies, in pixels of the supersampled picture, and how it is turned, in radians."""

    x: float
    y: float
    angle: float
    outer: float


def write_samples(folder: Path, *, good: int = 40, defective: int = 12, seed: int = 0) -> None:
    """Write ``good`` pictures of good parts and ``defective`` ones with masks, the defects in turn, into ``folder``.

    >>> write_samples(Path("flanges"), good=3, defective=2)
    >>> sorted(path.relative_to("flanges").as_posix() for path in Path("flanges").glob("a*/*"))
    ['anomaly/dent-000.png', 'anomaly/scratch-000.png']
    """
    rng = np.random.default_rng(seed)
    for name in ("normal", "anomaly", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(good):
        picture, _ = render_part(rng)
        _write(folder / "normal" / f"flange-{number:03d}.png", picture)
    for number in range(defective):
        defect = DEFECTS[number % len(DEFECTS)]
        name = f"{defect}-{number // len(DEFECTS):03d}.png"
        picture, mask = render_part(rng, defect)
        _write(folder / "anomaly" / name, picture)
        cv2.imwrite(str(folder / "masks" / name), mask)


def render_part(rng: np.random.Generator, defect: str | None = None) -> tuple[NDArray[np.uint8], Mask]:
    """One picture, uint8 RGB of shape ``(256, 256, 3)``, and its mask, 255 = defect; ``defect`` is one of DEFECTS."""
    side = SIDE * _SCALE
    pose = _Pose(
        x=side / 2 + rng.normal(0, 1.2) * _SCALE,
        y=side / 2 + rng.normal(0, 1.2) * _SCALE,
        angle=rng.normal(0, 0.03),
        outer=0.4 * side,
    )
    yy, xx = np.mgrid[:side, :side].astype(np.float32)
    dx, dy = xx - pose.x, yy - pose.y
    radius, azimuth = np.hypot(dx, dy), np.arctan2(dy, dx)
    light = rng.normal(-0.9, 0.05)

    holes = _holes(pose, drilled=7 if defect == "missing-hole" else 8)
    height = _turning_marks(rng, radius, azimuth)
    mask = np.zeros((side, side), np.uint8)
    reflectance = np.ones((side, side), np.float32)
    tint = np.zeros((side, side, 3), np.float32)
    if defect == "scratch":
        mask = _scratch(rng, pose, side)
        height -= 12.0 * cv2.GaussianBlur(mask / 255.0, (0, 0), 1.6).astype(np.float32)
        reflectance += 0.32 * cv2.GaussianBlur(mask / 255.0, (0, 0), 1.2).astype(np.float32)
    elif defect == "dent":
        x, y = _on_face(rng, pose)
        size = rng.uniform(0.028, 0.042) * side
        bowl = np.exp(-(((xx - x) ** 2 + (yy - y) ** 2) / (2 * (0.55 * size) ** 2)))
        height -= 44.0 * bowl
        mask = np.where((xx - x) ** 2 + (yy - y) ** 2 < size**2, 255, 0).astype(np.uint8)
    elif defect == "stain":
        mask, strength = _stain(rng, pose, xx, yy)
        reflectance -= 0.34 * strength
        tint -= strength[..., None] * np.array([0.02, 0.05, 0.10], np.float32)
    elif defect == "missing-hole":
        (x, y), size = _holes(pose, drilled=8)[7], 0.034 * side
        mask = np.where((xx - x) ** 2 + (yy - y) ** 2 < (1.1 * size) ** 2, 255, 0).astype(np.uint8)

    metal = _shade(height, light) * reflectance * _anisotropy(azimuth, light)
    picture = _table(rng, side, xx, yy)
    shadow = np.hypot(dx - 5 * _SCALE, dy - 6 * _SCALE) < pose.outer + 2 * _SCALE
    picture *= 1 - 0.45 * cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 5 * _SCALE)[..., None]
    face = (radius < pose.outer) & (radius > 0.33 * pose.outer)
    mask[~face] = 0
    warm = np.array([1.0, 0.985, 0.955], np.float32)
    picture[face] = (0.60 * metal[..., None] * warm + tint)[face]
    for edge, width, gain in ((pose.outer, 3.0, 0.16), (0.33 * pose.outer, 3.0, -0.2), (0.62 * pose.outer, 1.6, -0.1)):
        rim = np.exp(-(((radius - edge) / (width * _SCALE / 2)) ** 2))
        picture += gain * (rim * (0.7 + 0.6 * np.cos(azimuth - light)))[..., None] * face[..., None]
    for x, y in holes:
        _drill(picture, xx, yy, x, y, 0.034 * side, light)

    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = small * rng.normal(1.0, 0.02) + rng.normal(0, 0.004)
    small += rng.normal(0, 0.008, small.shape).astype(np.float32)
    covered = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.clip(small * 255, 0, 255).astype(np.uint8), np.where(covered > 80, 255, 0).astype(np.uint8)


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _holes(pose: _Pose, drilled: int) -> list[tuple[float, float]]:
    angles = pose.angle + np.arange(drilled) * 2 * np.pi / 8 + 0.35
    ring = 0.81 * pose.outer
    return [(pose.x + ring * float(np.cos(a)), pose.y + ring * float(np.sin(a))) for a in angles]


def _on_face(rng: np.random.Generator, pose: _Pose) -> tuple[float, float]:
    """A point on the flat between bore and holes."""
    radius, angle = rng.uniform(0.45, 0.70) * pose.outer, rng.uniform(0, 2 * np.pi)
    return pose.x + radius * float(np.cos(angle)), pose.y + radius * float(np.sin(angle))


def _turning_marks(rng: np.random.Generator, radius: Picture, azimuth: Picture) -> Picture:
    """Fine grooves of the lathe: a random profile along the radius, a little eccentric."""
    profile = cv2.GaussianBlur(rng.normal(0, 1, (1, 2048)).astype(np.float32), (0, 0), 1.1)[0]
    wobble = 1.5 * np.cos(azimuth - rng.uniform(0, 6.28))
    return np.asarray(3.2 * profile[np.clip((radius + wobble) * 1.2, 0, 2047).astype(int)], np.float32)


def _shade(height: Picture, light: float) -> Picture:
    """Lambert's law for a surface of that height, lit from the angle ``light`` at 45 degrees."""
    gx, gy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    lit = 1 + 0.16 * (gx * np.cos(light) + gy * np.sin(light))
    return np.asarray(np.clip(lit / np.sqrt(1 + 0.02 * (gx**2 + gy**2)), 0.2, 2.0), np.float32)


def _anisotropy(azimuth: Picture, light: float) -> Picture:
    """Turned metal gleams in two opposite sectors, across its grooves."""
    towards = np.cos(azimuth - light)
    square = towards * towards
    fourth = square * square
    return np.asarray(0.82 + 0.42 * fourth * fourth + 0.06 * towards, np.float32)


def _table(rng: np.random.Generator, side: int, xx: Picture, yy: Picture) -> NDArray[np.float32]:
    """A dark rubber mat: grain, and light that falls off towards one corner."""
    grain = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 1.4)
    falloff = 0.20 + 0.05 * (1 - (xx + yy) / (2 * side))
    return np.asarray((falloff + 0.035 * grain)[..., None] * np.array([0.92, 0.97, 1.05], np.float32), np.float32)


def _drill(picture: Picture, xx: Picture, yy: Picture, x: float, y: float, size: float, light: float) -> None:
    reach = int(1.3 * size) + 2
    window = np.s_[max(int(y) - reach, 0) : int(y) + reach + 1, max(int(x) - reach, 0) : int(x) + reach + 1]
    around, right, down = picture[window], xx[window] - x, yy[window] - y
    distance = np.hypot(right, down)
    inside = distance < size
    towards = (right * np.cos(light) + down * np.sin(light)) / size
    around[inside] = (0.07 + 0.05 * np.clip(-towards, 0, 1))[inside][:, None]
    chamfer = (distance >= size) & (distance < 1.22 * size)
    around[chamfer] *= (1.0 - 0.34 * np.clip(towards, -1, 1))[chamfer][:, None]


def _scratch(rng: np.random.Generator, pose: _Pose, side: int) -> Mask:
    """A curved line across the flat, thinner towards its ends."""
    mask = np.zeros((side, side), np.uint8)
    start = rng.uniform(0, 2 * np.pi)
    radii = np.linspace(rng.uniform(0.42, 0.48), rng.uniform(0.64, 0.76), 40) * pose.outer
    angles = start + np.linspace(0, rng.uniform(0.25, 0.6), 40) + rng.normal(0, 0.002, 40).cumsum()
    points = np.stack([pose.x + radii * np.cos(angles), pose.y + radii * np.sin(angles)], 1)
    for number, (a, b) in enumerate(pairwise(points)):
        width = 1 + round(3.2 * np.sin(np.pi * (number + 1) / 41))
        cv2.line(mask, np.rint(a).astype(int).tolist(), np.rint(b).astype(int).tolist(), 255, width + 1, cv2.LINE_AA)
    return mask


def _stain(rng: np.random.Generator, pose: _Pose, xx: Picture, yy: Picture) -> tuple[Mask, Picture]:
    """An oil stain: an irregular blot, darker at its rim where the liquid dried."""
    x, y = _on_face(rng, pose)
    size = rng.uniform(0.12, 0.18) * pose.outer
    angle = np.arctan2(yy - y, xx - x)
    outline = size * np.ones_like(xx)
    for order in range(2, 7):
        outline += size * rng.normal(0, 0.22 / order) * np.cos(order * angle + rng.uniform(0, 6.28))
    depth = np.clip((outline - np.hypot(xx - x, yy - y)) / (0.25 * size), 0, 1)
    rim = np.exp(-(((depth - 0.35) / 0.3) ** 2)) * (depth > 0)
    strength = np.asarray(cv2.GaussianBlur((0.65 * depth + 0.35 * rim).astype(np.float32), (0, 0), 1.5), np.float32)
    return np.where(depth > 0.15, 255, 0).astype(np.uint8), strength
