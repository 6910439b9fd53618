"""Cut-outs of coloured shapes: small, of known outlines, in the format that libraries have on disk."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from defectory.vision.images import encode_png

SIDE = 96
SHAPES = {
    "safety_cone": (0.75, True),
    "trash_can": (0.9, True),
    "step_ladder": (1.6, True),
    "tote": (0.4, True),
    "pallet": (0.35, True),
    "pallet_jack": (1.2, True),
    "go_cart": (1.0, True),
    "spill": (1.0, False),
    "debris": (0.5, False),
}


def draw(label: str, rng: np.random.Generator) -> np.ndarray:
    """RGBA of a shape."""
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    colour = (*rng.integers(40, 230, 3).tolist(), 255)
    if label == "safety_cone":
        cv2.fillConvexPoly(rgba, np.array([(48, 0), (95, 95), (0, 95)]), (240, 110, 20, 255), cv2.LINE_AA)
        cv2.rectangle(rgba, (30, 50), (66, 64), (240, 240, 240, 255), -1)
    elif label == "spill":
        cv2.ellipse(rgba, (48, 48), (47, 40), 0, 0, 360, (60, 70, 80, 150), -1, cv2.LINE_AA)
    elif label == "step_ladder":
        for row in range(5, 96, 20):
            cv2.line(rgba, (25, row), (70, row), colour, 5)
        for column in (25, 70):
            cv2.line(rgba, (column, 0), (column, 95), colour, 6)
    else:
        cv2.rectangle(rgba, (4, 0), (91, 95), colour, -1)
        cv2.rectangle(rgba, (20, 20), (70, 60), (*rng.integers(40, 230, 3).tolist(), 255), -1)
    return _tight(rgba, rgba)


def _tight(picture: np.ndarray, rgba: np.ndarray) -> np.ndarray:
    x, y, wide, high = cv2.boundingRect(rgba[..., 3])
    return picture[y : y + high, x : x + wide]


def draw_person(rng: np.random.Generator, wears: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """RGBA of a person, 64 x 160, and the masks of what is worn."""
    rgba = np.zeros((160, 64, 4), np.uint8)
    cv2.ellipse(rgba, (32, 16), (11, 15), 0, 0, 360, (214, 170, 140, 255), -1, cv2.LINE_AA)
    cv2.rectangle(rgba, (12, 30), (52, 88), (*rng.integers(30, 200, 3).tolist(), 255), -1)
    cv2.rectangle(rgba, (16, 86), (29, 159), (50, 60, 90, 255), -1)
    cv2.rectangle(rgba, (35, 86), (48, 159), (50, 60, 90, 255), -1)
    masks = {}
    for label in wears:
        mask = np.zeros((160, 64), np.uint8)
        if label == "hard_hat":
            cv2.ellipse(mask, (32, 11), (15, 10), 0, 180, 360, 255, -1)
            rgba[mask > 0] = (250, 210, 30, 255)
        else:
            cv2.rectangle(mask, (12, 30), (52, 84), 255, -1)
            rgba[mask > 0] = (220, 250, 40, 255)
            rgba[60:66, 12:53] = (200, 200, 200, 255)
        masks[label] = mask
    return _tight(rgba, rgba), {label: _tight(mask, rgba) for label, mask in masks.items()}


def write_cutouts(folder: Path, *, variants: int = 2, views: int = 2) -> Path:
    """A library of all shapes, as `defectory.detection.cutouts` opens it; every variant of one split."""
    lines = []
    for split in ("train", "test"):
        for variant in range(variants):
            for view in range(views):
                rng = np.random.default_rng([variant, view, split == "test"])
                for label, (height, stands) in SHAPES.items():
                    lines.append(
                        _store(folder, label, f"{split}{variant}", view, split, draw(label, rng), height, stands)
                    )
                for code in range(4):
                    wears = tuple(name for bit, name in enumerate(("hard_hat", "safety_vest")) if code >> bit & 1)
                    rgba, masks = draw_person(rng, wears)
                    variant_name = f"{split}{variant}-{code}"
                    line = _store(folder, "person", variant_name, view, split, rgba, 1.75, True)
                    line["parts"] = [_part(folder, line["id"], name, mask) for name, mask in masks.items()]
                    lines.append(line)
    (folder / "cutouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def _store(folder, label, variant, view, split, rgba, height, stands):
    name = f"{label}/{variant}-{view:02d}"
    file = folder / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_png(rgba))
    return {
        "id": name, "file": f"{name}.png", "label": label, "variant": variant, "view": view, "split": split,
        "height_m": height, "azimuth": 90.0 * view, "elevation": 15.0, "stands": stands,
        "license": "MIT-0", "source": "tests",
    }  # fmt: skip


def _part(folder, identity, label, mask):
    ys, xs = np.nonzero(mask)
    file = f"{identity}-{label}.png"
    (folder / file).write_bytes(encode_png(mask))
    box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
    return {"label": label, "box": box, "mask": file}
