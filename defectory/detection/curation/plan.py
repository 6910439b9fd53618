"""Plans: which layouts to compose next, drawn from a preset with more of what the detector is weak at.

From a pool of layouts, several times as many as are asked for, some are drawn without replacement with weights
(Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006).  A layout keeps what the preset says goes
together; only how often each is chosen changes, and none is out of reach.  Nothing but a number a layout is held.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defectory.detection.curation.attributes import FIGURES, VOCABULARY
from defectory.detection.curation.results import WeakSpot
from defectory.detection.evaluation.conditions import object_groups
from defectory.detection.labelled import LabelledObject
from defectory.detection.layouts.presets import Preset, load_preset, preset_names
from defectory.detection.layouts.sampler import sample_chunks
from defectory.detection.scenes.compositor import MIN_VISIBLE
from defectory.errors import InputError
from defectory.writing import write_whole, writing_to

LAYOUTS, RANDOM_LAYOUTS = "layouts.jsonl", "random-layouts.jsonl"

POOL = 8
"""Layouts that are looked at for each one that is chosen."""

STRENGTH = 6.0
"""By how much what shows the worst spot is preferred: its weight is 1 and this, where that of others is 1."""

# Plans have seeds of their own, or they would give the scenes again that the detector was trained on.
_SEEDS = 1_000_000
# So much of its box a thing fills: sizes are told by pixels, and a layout knows boxes.
_FILLED = 0.6


# Attributes seen in pictures, as layouts call them.
_SEEN_AS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("brightness", "lowest quarter"): ("light", "dim"),
    ("brightness", "highest quarter"): ("light", "bright"),
    ("sharpness", "lowest quarter"): ("camera", "soft"),
    ("light on it", "dim"): ("light", "dim"),
    ("light on it", "bright"): ("light", "bright"),
    ("light on it", "backlit"): ("light", "backlit"),
    ("focus", "blurred"): ("camera", "soft"),
    ("hidden", "partly"): ("visible share", "seen by 60 to 90 %"),
    ("hidden", "mostly"): ("visible share", "seen by less than 60 %"),
}


def plannable(spots: Sequence[WeakSpot]) -> tuple[WeakSpot, ...]:
    """The spots that layouts can show, attributes by the condition that makes them.

    Others, such as a low contrast, no layout decides: for them photos are needed, or other cut-outs and backgrounds.
    """
    translated = []
    for spot in spots:
        condition, group = _SEEN_AS.get((spot.condition, spot.group), (spot.condition, spot.group))
        if condition not in FIGURES and condition not in VOCABULARY:
            translated.append(spot.model_copy(update={"condition": condition, "group": group}))
    return tuple(translated)


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """``count`` of the layouts of a preset, which favour ``spots``; without any `plannable` they are drawn at random.

    The same seed looks at the same pool, whatever the spots.
    """

    preset: Preset
    count: int
    spots: tuple[WeakSpot, ...] = ()
    seed: int = 0
    size: tuple[int, int] = (512, 512)

    def lines(self) -> Iterator[bytes]:
        """The layouts, a line of JSON with its end each, in the order of the pool."""
        chosen = self._choose()
        place = 0
        for number, line in enumerate(self._pool()):
            if place < len(chosen) and number == chosen[place]:
                place += 1
                yield line + b"\n"

    def _pool(self) -> Iterator[bytes]:
        count = POOL * self.count
        for chunk in sample_chunks(self.preset, count, seed=_SEEDS + self.seed, split="train", size=self.size):
            yield from chunk.lines.splitlines()

    def _choose(self) -> NDArray[np.intp]:
        """The numbers of the chosen ones, ascending."""
        rng = np.random.default_rng([self.seed, POOL])
        keys = np.log(rng.random(POOL * self.count))
        if spots := plannable(self.spots):
            keys = keys / np.fromiter(self._weights(spots), np.float64, len(keys))
        chosen: NDArray[np.intp] = np.sort(np.argsort(-keys, kind="stable")[: self.count])
        return chosen

    def _weights(self, spots: Sequence[WeakSpot]) -> Iterator[float]:
        severities = severities_of(spots)
        for line in self._pool():
            is_shown = shows(spots, json.loads(line))
            yield 1.0 + STRENGTH * float(severities @ is_shown)


def severities_of(spots: Sequence[WeakSpot]) -> NDArray[np.float64]:
    """How bad each spot is: what of its difference is beyond chance, as a share of the worst one's."""
    lows = np.array([spot.difference.low for spot in spots])
    return np.asarray(lows / lows.max(initial=1e-9), np.float64)


def shows(spots: Sequence[WeakSpot], layout: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which of the spots a layout (as JSON) would teach something of, bool ``(spots,)``.

    Misses and low confidence are taught by an object of the class under the condition, confusions by one of both
    classes, false alarms by the condition, or by a scene without the class.
    """
    scene = {name: value for name, value in layout["conditions"].items() if value}
    scene["background"] = layout["background"]
    objects = [(item.label, {**object_groups(item), **scene}) for item in seen_objects(layout)]
    return np.array([_shows(spot, objects, scene) for spot in spots], np.bool_)


def _shows(spot: WeakSpot, objects: Sequence[tuple[str, Mapping[str, str]]], scene: Mapping[str, str]) -> bool:
    if spot.kind == "confused":
        return any(label in (spot.label, spot.other) for label, _ in objects)
    if spot.kind == "false alarm" and not spot.condition:
        return all(label != spot.label for label, _ in objects)
    if spot.kind == "false alarm" and spot.condition in scene:
        return scene[spot.condition] == spot.group
    # What is wrongly reported at a size is anything but its class.
    label = "" if spot.kind == "false alarm" else spot.label
    return any(
        label in ("", name) and (not spot.condition or groups.get(spot.condition) == spot.group)
        for name, groups in objects
    )


def seen_objects(layout: Mapping[str, Any]) -> Iterator[LabelledObject]:
    """The objects of a layout (as JSON) as they will about be seen, judged by boxes alone.

    What stands in front hides by its filled share, what is worn hides nothing, and what is seen too little is left out.
    """
    objects = layout["objects"]
    boxes = np.array([item["box"] for item in objects], np.float64).reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    inside = np.clip(corners, 0, [*layout["size"], *layout["size"]])
    whole, shown = (np.prod(np.maximum(part[:, 2:] - part[:, :2], 0), axis=1) for part in (corners, inside))
    for place, item in enumerate(objects):
        wearer = item.get("worn_by")
        others = [
            later
            for later in range(place + 1, len(objects))
            if objects[later].get("worn_by") is None and later != wearer
        ]
        sides = np.minimum(inside[others, 2:], inside[place, 2:]) - np.maximum(inside[others, :2], inside[place, :2])
        hidden = float(np.prod(np.maximum(sides, 0), axis=1).max(initial=0.0)) * _FILLED
        free = max(float(shown[place]) - hidden, 0.0)
        if free < MIN_VISIBLE * float(whole[place]):
            continue
        left, top, right, bottom = inside[place].tolist()
        yield LabelledObject(
            item["label"],
            (left, top, right - left, bottom - top),
            area=free * _FILLED,
            visible=free / float(whole[place]),
            truncated=1 - float(shown[place]) / float(whole[place]),
        )


def write_plan(plan: LayoutPlan, file: Path) -> Path:
    """Write the layouts of ``plan``, a line each, for `defectory detect compose`.

    Raises:
        UnwritableError: it cannot be written.
    """
    with writing_to(file.parent):
        return write_whole(file, plan.lines())


def preset_of(classes: Sequence[str], name: str | Path | None = None) -> Preset:
    """The preset ``name``, or the embedded one that shows all ``classes``, of several the one with the fewest others.

    Raises:
        InputError: there is none, or the one that is named shows none of the classes.
    """
    if name is not None:
        preset = load_preset(name)
        if not set(classes) & set(preset.labels):
            got = f"{', '.join(preset.labels)} against {', '.join(classes)}"
            raise InputError("--preset", "one that shows classes of the detector", got)
        return preset
    known = [preset for preset in map(load_preset, preset_names()) if set(classes) <= set(preset.labels)]
    if not known:
        fix = "Name the preset that its scenes were sampled from: --preset NAME or FILE."
        raise InputError("MODEL", "a detector whose classes are all in one of the presets", ", ".join(classes), fix)
    return min(known, key=lambda preset: len(preset.labels))
