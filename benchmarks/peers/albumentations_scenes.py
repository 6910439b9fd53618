"""Scenes by albumentations' own pasting (OverlayElements) and its steps of a camera; run in an environment of its own.

It knows neither shadows nor light of a place, and says not which boxes are still seen: it does less than the others.

python albumentations_scenes.py FOLDER SCENES: prints the median of CPU milliseconds a scene; FOLDER has arrays.npz.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

cv2.setNumThreads(1)


def main():
    folder, scenes = Path(sys.argv[1]), int(sys.argv[2])
    arrays = np.load(folder / "arrays.npz")
    plan = json.loads((folder / "plan.json").read_text())
    transform = A.Compose(
        [
            A.OverlayElements(p=1),
            A.RandomBrightnessContrast(p=1),
            A.RandomToneCurve(p=1),
            A.GaussianBlur(blur_limit=(3, 3), p=1),
            A.GaussNoise(std_range=(0.01, 0.02), p=1),
        ]
    )
    spent = []
    for number in range(scenes + 1):
        background, objects = plan[number % len(plan)]
        image = arrays[background]
        started = time.process_time()
        overlays = []
        for name, left, top, wide, high in objects:
            sprite = cv2.resize(arrays[name], (wide, high), interpolation=cv2.INTER_LINEAR)
            if number % 2:
                sprite = cv2.flip(sprite, 1)
            x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, 512), min(top + high, 512)
            sprite = np.ascontiguousarray(sprite[y0 - top : y1 - top, x0 - left : x1 - left])
            overlays.append(
                {
                    "image": sprite[..., :3],
                    "mask": (sprite[..., 3] > 127).astype(np.uint8),
                    "bbox": [x0 / 512, y0 / 512, x1 / 512, y1 / 512],
                }
            )
        transform(image=image, overlay_metadata=overlays)
        spent.append(time.process_time() - started)
    print(1000 * statistics.median(spent[1:]))


if __name__ == "__main__":
    main()
