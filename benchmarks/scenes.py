"""Composed scenes of 512x512 pixels a second and core, against plain pasting with Pillow and albumentations.

All put the same cut-outs at the same places on the same backgrounds.  albumentations is installed once into its own
environment (``build/albumentations``).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.measure import ROOT, table
from benchmarks.peers.pillow_scenes import compose
from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import Layout, View
from defectory.detection.layouts.sampler import sample_layouts
from defectory.detection.scenes.backgrounds import DrawnBackgrounds
from defectory.detection.scenes.compositor import Compositor
from defectory.vision.images import encode_jpeg

SIDE = 512
Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class ReadyBackgrounds:
    """Pictures that are there already, so that composing alone is measured."""

    pictures: list[Picture]

    def draw(
        self, kind: str, size: tuple[int, int], view: View, room: tuple[float, float], rng: np.random.Generator
    ) -> Picture:
        return self.pictures[int(rng.integers(len(self.pictures)))].copy()


def report(scenes: int = 60) -> str:
    """Scenes per second and core, on layouts of the preset that shows most objects."""
    library, preset = CutOutLibrary.embedded(), load_preset("housekeeping")
    layouts = list(sample_layouts(preset, scenes, seed=1))
    drawn = Compositor(library, DrawnBackgrounds("train"), preset.labels)
    with threadpool_limits(1):
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            backgrounds = [drawn.render(layout.model_copy(update={"objects": ()})).image for layout in layouts[:12]]
            ready = Compositor(library, ReadyBackgrounds(backgrounds), preset.labels)
            pasted = [_pasted(layout, library) for layout in layouts]
            rng = np.random.default_rng(0)
            pictures = [Image.fromarray(background) for background in backgrounds]
            seconds = {
                "Defectory, backgrounds given": _measured(lambda n: ready.render(layouts[n]), scenes),
                "Pillow, the same steps": _measured(lambda n: compose(pictures[n % 12], pasted[n], rng), scenes),
                "albumentations 2.0.8, fewer steps": _albumentations(backgrounds, layouts, pasted),
                "Defectory, places drawn too": _measured(lambda n: drawn.render(layouts[n]), scenes),
                "Defectory, places drawn, JPEG": _measured(
                    lambda n: encode_jpeg(drawn.render(layouts[n]).image), scenes
                ),
            }
        finally:
            cv2.setNumThreads(threads)
    ours = seconds["Defectory, backgrounds given"]
    rows = [
        (name, f"{1 / spent:.1f}", f"{spent * 1000:.3g}", f"{spent / ours:.2f}x") for name, spent in seconds.items()
    ]
    count = statistics.mean(len(layout.objects) for layout in layouts)
    return (
        f"{table((f'512x512, {count:.1f} objects each, one core', 'scenes / s', 'ms each', 'ms / ours'), rows)}\n\n"
        "Median of CPU time. Steps: size, mirror, light of the place, cast and contact shadow, who hides whom, masks, "
        "boxes, run lengths; tone, blur, vignette, noise. albumentations pastes and does the camera's steps alone: no "
        "shadows, no light of the place, no visible masks or boxes."
    )


def _pasted(layout: Layout, library: CutOutLibrary) -> list[tuple[Image.Image, int, int, int, int]]:
    rng = np.random.default_rng(layout.seed)
    placed = []
    for item in layout.objects:
        cutout = library.choose(item.label, rng, "train")
        high = round((item.px_per_m or 50) * cutout.height_m)
        wide = max(round(high * cutout.rgba.shape[1] / cutout.rgba.shape[0]), 1)
        left, top = round(item.box[0] + item.box[2] / 2 - wide / 2), round(item.box[1] + item.box[3] - high)
        if left < SIDE - 1 and top < SIDE - 1 and left + wide > 1 and top + high > 1:
            placed.append((Image.fromarray(cutout.rgba), left, top, wide, max(high, 1)))
    return placed


def _measured(make: Callable[[int], object], scenes: int) -> float:
    for number in range(scenes):
        make(number)
    spent = []
    for number in range(scenes):
        started = time.process_time()
        make(number)
        spent.append(time.process_time() - started)
    return statistics.median(spent)


def _albumentations(
    backgrounds: list[Picture], layouts: list[Layout], pasted: list[list[tuple[Image.Image, int, int, int, int]]]
) -> float:
    folder = ROOT / "build" / "albumentations"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "albumentations==2.0.8"], check=True)
    with tempfile.TemporaryDirectory() as name:
        arrays = {f"background-{number}": background for number, background in enumerate(backgrounds)}
        plan = []
        for number, objects in enumerate(pasted):
            entries = []
            for place, (picture, *box) in enumerate(objects):
                arrays[f"{number}-{place}"] = np.asarray(picture)
                entries.append([f"{number}-{place}", *box])
            plan.append([f"background-{number % len(backgrounds)}", entries])
        np.savez(Path(name) / "arrays.npz", **arrays)
        (Path(name) / "plan.json").write_text(json.dumps(plan))
        script = ROOT / "benchmarks" / "peers" / "albumentations_scenes.py"
        command = [str(python), str(script), name, str(len(layouts))]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(result.stdout) / 1000
