"""``python -m tools.cutouts.models``: cut-outs to test with, rendered from 3D models (GLB) of your own.

What detectors were trained on comes from our own models; things that somebody else modelled tell more of how they do.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bpy
from mathutils import Matrix, Vector

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

    def build(self, up: Literal["y", "z"]) -> None:
        """Put it on the floor, its middle above the origin."""
        bpy.ops.import_scene.gltf(filepath=str(self.file))
        bpy.context.view_layer.update()
        # The import turns what is upright in GLB, which is y; others wrote their z as it was.
        _move(Matrix.Rotation(math.radians(-90 if up == "z" else 0), 4, "X"))
        points = studio.points_of(studio.models())
        low, high = points.min(axis=0), points.max(axis=0)
        scale = self.height_m / float(high[2] - low[2]) if self.height_m else 1.0
        foot = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]))
        _move(Matrix.Scale(scale, 4) @ Matrix.Translation(-foot))


def _move(by: Matrix) -> None:
    """All that is there, with what hangs on it."""
    for item in bpy.context.scene.objects:
        if item.parent is None and item.type in {"MESH", "EMPTY"}:
            item.matrix_world = by @ item.matrix_world
    bpy.context.view_layer.update()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.cutouts.models", description=__doc__)
    parser.add_argument("models", nargs="+", type=Model.parse, metavar="FILE:LABEL[:HEIGHT]", help="in metres")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cut-outs, new or empty")
    parser.add_argument("--license", required=True, help="of the models, an SPDX identifier")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="the axis that is upright; z in some conversions")
    parser.add_argument("--views", type=int, default=12, help="of each model")
    parser.add_argument("--samples", type=int, default=4, help="a pixel, before the denoiser")
    given = parser.parse_args()
    if given.out.exists() and any(given.out.iterdir()):
        parser.error(f"--out: a new or empty folder, not {given.out}")
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "cutouts.jsonl").open("w") as index:
        for model in given.models:
            variant = Variant(
                model.label, model.file.stem, test=True, build=lambda _, model=model: model.build(given.up)
            )
            for line in make(variant, given.views, given.samples, given.out):
                line |= {"license": given.license, "source": model.file.name}
                index.write(json.dumps(line, separators=(",", ":")) + "\n")
            print(f"{model.label}/{variant.name}: {given.views} views", flush=True)


if __name__ == "__main__":
    main()
