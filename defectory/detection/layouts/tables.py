"""Layouts as tables: objects in the order of drawing with what they wear, and a row a layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from defectory.detection.layouts.draws import BLOCK, Floats, Ints, SceneDraws, condition_names
from defectory.detection.layouts.labels import spread_out
from defectory.detection.layouts.placement import PlacedObjects
from defectory.detection.layouts.presets import Preset

_LIGHT_WORDS = {
    "even": "even light",
    "bright": "bright light",
    "dim": "dim light",
    "warm": "warm light",
    "cold": "cold light",
    "backlit": "light from behind",
}


@dataclass(frozen=True, slots=True)
class ObjectRows:
    """Objects in the order of drawing, those that are worn after whoever wears them."""

    scene: Ints
    label: Ints
    box: Floats
    px_per_m: Floats
    worn_by: Ints
    wears: Ints
    tilt: Ints


def order_objects(
    preset: Preset, scenes: SceneDraws, objects: PlacedObjects, size: tuple[int, int], rng: np.random.Generator
) -> ObjectRows:
    """From the back to the front; what lies on the floor is under all that stands on it."""
    plans = list(preset.classes.values())
    lies = np.array([plan.place == "lies" for plan in plans])[objects.label]
    box = objects.box.round(1)
    box[:, 2:] = np.maximum(box[:, 2:], 1)
    meets = (box[:, 0] < size[0]) & (box[:, 1] < size[1]) & (box[:, :2] + box[:, 2:] > 0).all(axis=1)
    order = np.lexsort(((box[:, 1] + box[:, 3]), ~lies, objects.scene))
    order = order[meets[order]]
    scene, label, box, scale = objects.scene[order], objects.label[order], box[order], objects.px_per_m[order].round(2)
    tilt = np.zeros(len(scene), np.int64)
    names = list(preset.classes)
    for place, event in enumerate(preset.events):
        for name in event.tilted:
            fallen = (scenes.event[scene] == place) & (label == names.index(name))
            tilt[fallen] = rng.choice([-90, 90], int(fallen.sum()))
    return _dress(preset, scenes, (scene, label, box, scale, tilt), size, rng)


def _dress(
    preset: Preset,
    scenes: SceneDraws,
    ordered: tuple[Ints, Ints, Floats, Floats, Ints],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> ObjectRows:
    """Add what is worn, as rows of their own; ``wears`` has a bit for each relation."""
    scene, label, box, scale, tilt = ordered
    names, drawn = list(preset.classes), list(preset.drawn)
    wears = np.zeros(len(scene), np.int64)
    parts = [(np.arange(len(scene)), np.zeros(len(scene), np.int64), scene, label, box, scale, tilt)]
    for bit, relation in enumerate(preset.wears):
        share = np.full(len(scene), relation.share)
        for place, event in enumerate(preset.events):
            if relation.label in event.wears:
                share[scenes.event[scene] == place] = event.wears[relation.label]
        wearers = np.flatnonzero((label == names.index(relation.wearer)) & (rng.random(len(scene)) < share))
        wears[wearers] |= 1 << bit
        left, top, width, height = relation.box
        around = box[wearers]
        worn = np.stack(
            [
                around[:, 0] + left * around[:, 2],
                around[:, 1] + top * around[:, 3],
                np.maximum(width * around[:, 2], 1),
                np.maximum(height * around[:, 3], 1),
            ],
            axis=1,
        ).round(1)
        meets = (worn[:, 0] < size[0]) & (worn[:, 1] < size[1]) & (worn[:, :2] + worn[:, 2:] > 0).all(axis=1)
        wearers, worn = wearers[meets], worn[meets]
        parts.append(
            (
                wearers,
                np.full(len(wearers), bit + 1),
                scene[wearers],
                np.full(len(wearers), drawn.index(relation.label)),
                worn,
                np.full(len(wearers), np.nan),
                np.zeros(len(wearers), np.int64),
            )
        )
    wearer, layer, scene, label, box, scale, tilt = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((layer, wearer))
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    starts = np.searchsorted(scene[order], scene[order], side="left")
    worn_by = np.where(layer > 0, position[wearer], -1)[order]
    return ObjectRows(
        scene[order],
        label[order],
        box[order],
        scale[order],
        np.where(worn_by >= 0, worn_by - starts, -1),
        np.where(layer == 0, wears[wearer], 0)[order],
        tilt[order],
    )


def layout_frame(
    preset: Preset, scenes: SceneDraws, rows: ObjectRows, size: tuple[int, int], names: pl.Series
) -> pl.DataFrame:
    """A row a layout, with the columns of `Layout`."""
    background = _texts(condition_names(preset, "backgrounds"), scenes.background)
    gathered = _gathered(preset, rows)
    places = gathered["scene"].to_numpy()
    light = _texts(condition_names(preset, "light"), scenes.light)
    frame = pl.DataFrame(
        {
            "image_id": names,
            "background": background,
            "seed": scenes.seed,
            "light": light,
            "camera": _texts(condition_names(preset, "camera"), scenes.camera),
            "occlusion": _texts(condition_names(preset, "occlusion"), scenes.occlusion),
            "event": _texts(("", *(event.name for event in preset.events)), scenes.event + 1),
            "horizon": scenes.horizon.round(1),
            "height_m": scenes.height_m,
            "fov": scenes.fov,
            "objects": spread_out(gathered["objects"], places, BLOCK),
            "words": spread_out(gathered["words"], places, BLOCK),
        }
    )
    words = pl.col("light").replace_strict(_LIGHT_WORDS)
    return frame.select(
        "image_id",
        pl.lit(pl.Series([list(size)])).first().alias("size"),
        pl.col("objects").fill_null([]),
        "background",
        pl.format("A photo of a {}, {}, with {}", "background", words, pl.col("words").fill_null("nobody")).alias(
            "prompt"
        ),
        "seed",
        pl.struct("light", "camera", "occlusion", "event").alias("conditions"),
        pl.struct("horizon", "height_m", "fov").alias("view"),
    )


def _gathered(preset: Preset, rows: ObjectRows) -> pl.DataFrame:
    """The objects of each scene in one cell."""
    drawn = preset.drawn
    outfits = [
        [relation.label for bit, relation in enumerate(preset.wears) if code >> bit & 1]
        for code in range(1 << len(preset.wears))
    ]
    flat = pl.DataFrame(
        {
            "scene": rows.scene,
            "label": _texts(drawn, rows.label),
            "word": _texts([name.replace("_", " ") for name in drawn], rows.label),
            "box": pl.Series(rows.box, dtype=pl.Array(pl.Float64, 4)).arr.to_list(),
            "wears": pl.Series(outfits, dtype=pl.List(pl.String)).gather(rows.wears),
            "worn_by": rows.worn_by,
            "px_per_m": rows.px_per_m,
            "tilt": rows.tilt,
        }
    ).with_columns(pl.when(pl.col("worn_by") >= 0).then("worn_by").alias("worn_by"), pl.col("px_per_m").fill_nan(None))
    item = pl.struct("label", "box", "wears", "worn_by", "px_per_m", "tilt")
    return flat.group_by("scene", maintain_order=True).agg(
        item.alias("objects"), pl.col("word").str.join(", ").alias("words")
    )


def _texts(names: Sequence[str], codes: Ints) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(codes)
