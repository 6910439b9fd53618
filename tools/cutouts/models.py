"""``python -m tools.cutouts.models``: cut-outs to test with, rendered from 3D models (GLB) of your own.

What detectors were trained on comes from our own models; things that somebody else modelled tell more of how they do.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from tools.cutouts import studio
from tools.cutouts.__main__ import make
from tools.cutouts.catalogue import Variant


@dataclass(frozen=True, slots=True)
class Model:
    """A file, the class that it shows, and how high it is in metres: models come in all units (None: in metres)."""

    file: Path
    label: str
    height_m: float | None = None

    @classmethod
    def parse(cls, text: str) -> Model:
        """``FILE:LABEL`` or ``FILE:LABEL:HEIGHT``; raises ValueError."""
        file, label, *height = text.split(":")
        model = cls(Path(file), label, *map(float, height))
        if not model.file.is_file() or not label or (height and not float(height[0]) > 0):
            raise ValueError(text)
        return model

    def build(self, pose: int) -> None:
        """Put it on the floor, its middle above the origin."""
        bpy.ops.import_scene.gltf(filepath=str(self.file))
        shown = studio.models()
        roots = [item for item in bpy.context.scene.objects if item.parent is None and item.type in {"MESH", "EMPTY"}]
        bpy.context.view_layer.update()
        points = studio.points_of(shown)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = self.height_m / float(high[2] - low[2]) if self.height_m else 1.0
        foot = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        for item in roots:
            item.location = [float(value) for value in (np.array(item.location) - foot) * scale]
            item.scale = [float(value) * scale for value in item.scale]
        bpy.context.view_layer.update()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.cutouts.models", description=__doc__)
    parser.add_argument("models", nargs="+", type=Model.parse, metavar="FILE:LABEL[:HEIGHT]", help="in metres")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cut-outs, new or empty")
    parser.add_argument("--license", required=True, help="of the models, an SPDX identifier")
    parser.add_argument("--views", type=int, default=12, help="of each model")
    parser.add_argument("--samples", type=int, default=4, help="a pixel, before the denoiser")
    given = parser.parse_args()
    if given.out.exists() and any(given.out.iterdir()):
        parser.error(f"--out: a new or empty folder, not {given.out}")
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "cutouts.jsonl").open("w") as index:
        for model in given.models:
            variant = Variant(model.label, model.file.stem, test=True, build=model.build)
            for line in make(variant, given.views, given.samples, given.out):
                line |= {"license": given.license, "source": model.file.name}
                index.write(json.dumps(line, separators=(",", ":")) + "\n")
            print(f"{model.label}/{variant.name}: {given.views} views", flush=True)


if __name__ == "__main__":
    main()
