"""``python -m tools.cutouts``: render the embedded cut-outs, or a sheet of a few to look at."""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mathutils import Vector
from numpy.typing import NDArray
from PIL import Image

from tools.cutouts import pictures, studio
from tools.cutouts.catalogue import VARIANTS, Variant
from tools.cutouts.people import Body

ASSETS = Path(__file__).parents[2] / "defectory/detection/cutouts/assets"
SIDE = 224
LICENSE, SOURCE = "MIT-0", "tools/cutouts"


def seed_of(variant: Variant) -> int:
    """The same in every run, another for each variant."""
    return zlib.crc32(f"{variant.label}/{variant.name}".encode())


def views(variant: Variant, count: int) -> list[tuple[int, studio.View]]:
    """``count`` views with the number of their pose: all around, low and high, near and far, in every light.

    Views of one pose follow each other, since building one takes as long as some renders.
    """
    rng = np.random.default_rng(seed_of(variant))
    low, high = variant.elevations
    heights = low + (high - low) * ((np.arange(count) + rng.random(count)) / count) ** 1.3
    turns = (np.arange(count) + rng.uniform(0, 0.8, count)) * 360 / count
    lights = [studio.LIGHTS[number % len(studio.LIGHTS)] for number in range(count)]
    order = rng.permutation(count)
    drawn = [
        (
            number % variant.poses,
            studio.View(
                float(turns[number]),
                float(heights[order[number]]),
                float(rng.uniform(3.2, 7.0)),
                lights[int(rng.integers(count))],
                float(rng.uniform(0, 360)),
            ),
        )
        for number in range(count)
    ]
    return sorted(drawn, key=lambda item: item[0])


def develop(picture: NDArray[np.float32], variant: Variant, number: int) -> NDArray[np.uint8]:
    """With the exposure and white balance of that view's camera."""
    rng = np.random.default_rng([seed_of(variant), number])
    warm = rng.normal(0, 0.035)
    return pictures.develop(picture, exposure=float(np.exp(rng.normal(0.05, 0.14))), tint=(1 + warm, 1.0, 1 - warm))


def render_view(
    variant: Variant, body: Body | None, points: NDArray[np.float64], view: studio.View, side: int, samples: int
) -> tuple[NDArray[np.float32], float, list[tuple[str, NDArray[np.bool_]]]]:
    """The picture, how many metres one pixel is, and the masks of what a person wears."""
    size = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    placed = studio.View(view.azimuth, view.elevation, view.distance * size, view.light, view.light_turn)
    metres = studio.frame(placed, points, side)
    centre = Vector((points.min(axis=0) + points.max(axis=0)) / 2)
    studio.light(placed, centre, size, mirrored=variant.label == "spill")
    if variant.label == "spill":
        picture = studio.render_liquid(studio.models(), samples)
    else:
        picture = studio.render(samples * variant.fineness)
    masks: list[tuple[str, NDArray[np.bool_]]] = []
    if variant.label == "person" and body is not None and (body.hat or body.vest):
        found = studio.render_masks(body.all, [body.hat, body.vest])
        masks = [
            (label, mask) for label, mask in zip(("hard_hat", "safety_vest"), found, strict=True) if mask.sum() >= 12
        ]
    return picture, metres, masks


def scenes(
    variant: Variant, chosen: list[tuple[int, studio.View]]
) -> Iterator[tuple[int, int, studio.View, Body | None, NDArray[np.float64]]]:
    """The views with their numbers and what was built for them."""
    last, body, points = -1, None, np.zeros((0, 3))
    for number, (pose, view) in enumerate(chosen):
        if pose != last:
            studio.empty()
            body = variant.build(pose)
            shown = (
                body.vest
                if body is not None and variant.label == "safety_vest"
                else [item for item in studio.models() if not item.is_holdout]
            )
            points, last = studio.points_of(shown), pose
        yield number, pose, view, body, points


def make(variant: Variant, count: int, samples: int, out: Path) -> list[dict[str, Any]]:
    """Render all views of a variant into ``out``; the lines of its cut-outs."""
    lines = []
    for number, pose, view, body, points in scenes(variant, views(variant, count)):
        picture, metres, masks = render_view(variant, body, points, view, SIDE, samples)
        developed = develop(picture, variant, number)
        left, top, right, bottom = pictures.bounds(developed[..., 3])
        if max(right - left, bottom - top) > SIDE:
            raise SystemExit(f"{variant.label}/{variant.name}: larger than {SIDE} pixels")
        name = f"{variant.label}/{variant.name}-{number:02d}"
        (out / variant.label).mkdir(parents=True, exist_ok=True)
        (out / f"{name}.webp").write_bytes(pictures.encode(np.ascontiguousarray(developed[top:bottom, left:right])))
        parts = []
        for label, mask in masks:
            cut = mask[top:bottom, left:right] & (developed[top:bottom, left:right, 3] > 0)
            if cut.sum() < 12:
                continue
            x0, y0, x1, y1 = pictures.bounds(cut.astype(np.uint8))
            (out / f"{name}-{label}.png").write_bytes(pictures.encode_mask(cut))
            parts.append({"label": label, "box": [x0, y0, x1 - x0, y1 - y0], "mask": f"{name}-{label}.png"})
        lines.append(
            {
                "id": name,
                "file": f"{name}.webp",
                "label": variant.label,
                "variant": variant.name,
                "view": number,
                "split": "test" if variant.test else "train",
                "height_m": round((bottom - top) * metres, 4),
                "azimuth": round(view.azimuth % 360, 1),
                "elevation": round(view.elevation, 1),
                "stands": bool(variant.stands[pose]),
                "license": LICENSE,
                "source": SOURCE,
                **({"parts": parts} if parts else {}),
            }
        )
    return lines


def in_turn(chosen: list[Variant]) -> list[Variant]:
    """One of each class, then a second of each: a run that is stopped early has some of all; tests come second."""
    ranks: dict[str, int] = {}
    ordered = []
    for test in (False, True):
        for variant in (variant for variant in chosen if variant.test is test):
            number = ranks.get(f"{variant.label} {test}", 0)
            ranks[f"{variant.label} {test}"] = number + 1
            ordered.append((number + 0.5 * test, variant))
    return [variant for _, variant in sorted(ordered, key=lambda item: item[0])]


def make_all(chosen: list[Variant], count: int, samples: int, out: Path) -> None:
    """Render variants, one after the other, and write the lines of each once all of its views are there."""
    for variant in in_turn(chosen):
        started = time.process_time(), time.time()
        lines = make(variant, count, samples, out)
        write_index(out, read_index(out) | {(variant.label, variant.name): lines})
        print(
            f"{variant.label}/{variant.name}: {len(lines)} views, {time.process_time() - started[0]:.0f} CPU s, "
            f"{time.time() - started[1]:.0f} s",
            flush=True,
        )


def read_index(out: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The lines that are there, by class and variant."""
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    index = out / "cutouts.jsonl"
    for text in index.read_text().splitlines() if index.exists() else ():
        line = json.loads(text)
        lines.setdefault((line["label"], line["variant"]), []).append(line)
    return lines


def write_index(out: Path, lines: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Write the lines in the catalogue's order."""
    ordered = [line for variant in VARIANTS for line in lines.get((variant.label, variant.name), ())]
    (out / "cutouts.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in ordered))


def draft(chosen: list[Variant], count: int, samples: int, side: int, out: Path) -> None:
    """A sheet of a few views of each variant."""
    shown = []
    for variant in chosen:
        started = time.process_time()
        for number, _, view, body, points in scenes(variant, views(variant, max(count, variant.poses))[::1]):
            picture, metres, _ = render_view(variant, body, points, view, side, samples)
            shown.append(
                (
                    develop(picture, variant, number),
                    f"{variant.name} {view.elevation:.0f} {view.light} {picture.shape[0] * metres:.2f}m",
                )
            )
        print(f"{variant.label}/{variant.name}: {time.process_time() - started:.1f} CPU s", flush=True)
        pictures.sheet(shown, 8, 224).save(out)


def sheet(folder: Path, label: str, out: Path) -> None:
    """A sheet of finished cut-outs: all views of a class, a row a variant, or of each variant one view."""
    lines = [json.loads(line) for line in (folder / "cutouts.jsonl").read_text().splitlines()]
    if label:
        chosen, columns, cell = [line for line in lines if line["label"] == label], 24, 88
    else:
        # The first views are of the first pose.
        usual = sorted(lines, key=lambda line: abs(line["elevation"] - 18) + 3 * line["view"])
        first = {(line["label"], line["variant"]): line for line in reversed(usual)}
        chosen, columns, cell = [first[key] for key in dict.fromkeys((x["label"], x["variant"]) for x in lines)], 14, 80
    shown = [
        (
            np.asarray(Image.open(folder / line["file"]).convert("RGBA")),
            line["id"].partition("/")[2] if label else line["label"],
        )
        for line in chosen
    ]
    pictures.sheet(shown, columns, cell).quantize(256).save(out, optimize=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.cutouts", description=__doc__)
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder of the cut-outs, or file of the sheet")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        metavar="LABEL[/VARIANT]",
        help="render these, and again if they are there; by default all that are not there",
    )
    parser.add_argument("--views", type=int, default=24, help="of each variant")
    parser.add_argument("--samples", type=int, default=4, help="a pixel, before the denoiser")
    parser.add_argument("--draft", action="store_true", help="a sheet of few views in place of cut-outs")
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FOLDER",
        help="a sheet of finished cut-outs: of a class, or a view of each variant",
    )
    parser.add_argument("--side", type=int, default=SIDE, help="of a draft's pictures")
    given = parser.parse_args()
    if given.sheet:
        sheet(given.sheet, "".join(given.only), given.out)
        return
    chosen = [v for v in VARIANTS if not given.only or v.label in given.only or f"{v.label}/{v.name}" in given.only]
    if not chosen:
        parser.error(f"--only: no such class or variant: {' '.join(given.only)}")
    if given.draft:
        draft(chosen, given.views, given.samples, given.side, given.out)
    else:
        there = {} if given.only else read_index(given.out)
        missing = [variant for variant in chosen if (variant.label, variant.name) not in there]
        make_all(missing, given.views, given.samples, given.out)


if __name__ == "__main__":
    main()
