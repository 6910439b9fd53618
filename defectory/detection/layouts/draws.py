"""What is drawn for a block of scenes: cameras, conditions, events, and which objects are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defectory.detection.layouts.presets import Preset

BLOCK = 2048
"""Layouts that are drawn at a time."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SceneDraws:
    """What is drawn for each of the ``n`` scenes of a block; ``event`` is -1 for none."""

    horizon: Floats
    height_m: Floats
    fov: Floats
    event: Ints
    light: Ints
    camera: Ints
    occlusion: Ints
    background: Ints
    seed: Ints


def draw_scenes(preset: Preset, size: tuple[int, int], rng: np.random.Generator) -> SceneDraws:
    """Camera, conditions, place, seed, and perhaps a rare event, for each scene of a block."""
    view = preset.view
    edges = np.cumsum([event.rate for event in preset.events])
    event = np.searchsorted(edges, rng.random(BLOCK), side="right") if len(edges) else np.zeros(BLOCK, np.int64)
    event = np.where(event < len(edges), event, -1)
    drawn = {
        name: _choose(getattr(preset, name), BLOCK, rng) for name in ("light", "camera", "occlusion", "backgrounds")
    }
    for place, rare in enumerate(preset.events):
        for name in ("light", "camera", "occlusion"):
            value = getattr(rare, name)
            if value is not None:
                names = list(condition_names(preset, name))
                drawn[name] = np.where(event == place, names.index(value), drawn[name])
    return SceneDraws(
        horizon=rng.uniform(*view.horizon, BLOCK).round(3) * size[1],
        height_m=rng.uniform(*view.height_m, BLOCK).round(2),
        fov=rng.uniform(*view.fov, BLOCK).round(1),
        event=event,
        light=drawn["light"],
        camera=drawn["camera"],
        occlusion=drawn["occlusion"],
        background=drawn["backgrounds"],
        seed=rng.integers(0, 2**62, BLOCK),
    )


def condition_names(preset: Preset, name: str) -> tuple[str, ...]:
    """The names that a condition may have in this preset, with those that only its events give it."""
    weights: Mapping[str, float] = getattr(preset, name)
    extra = () if name == "backgrounds" else (getattr(event, name) for event in preset.events)
    return tuple(dict.fromkeys([*weights, *(value for value in extra if value is not None)]))


def _choose(weights: Mapping[str, float] | Mapping[int, float], count: int, rng: np.random.Generator) -> Ints:
    """``count`` places among the weights."""
    cumulative = np.cumsum(list(weights.values()))
    drawn = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    places: Ints = np.minimum(drawn, len(cumulative) - 1).astype(np.int64)
    return places


def draw_objects(preset: Preset, scenes: SceneDraws, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Scene, class and (for what stands beside another) the other's place, of all that stands by itself."""
    counts = _draw_counts(preset, scenes, rng)
    labels = list(preset.classes)
    scene = np.repeat(np.tile(np.arange(BLOCK), len(labels)), counts.ravel())
    label = np.repeat(np.repeat(np.arange(len(labels)), BLOCK), counts.ravel())
    # In one scene in random order, or the first class would always have the first choice of places.
    order = np.lexsort((rng.random(len(scene)), scene))
    scene, label = scene[order], label[order]
    beside = np.full(len(scene), -1)
    for relation in preset.beside:
        anchors = np.flatnonzero((label == labels.index(relation.of)) & (rng.random(len(label)) < relation.share))
        scene = np.concatenate([scene, scene[anchors]])
        label = np.concatenate([label, np.full(len(anchors), labels.index(relation.label))])
        beside = np.concatenate([beside, anchors])
    return scene, label, beside


def _draw_counts(preset: Preset, scenes: SceneDraws, rng: np.random.Generator) -> Ints:
    """How many of each class, shape ``(classes, scenes)``."""
    labels = list(preset.classes)
    counts = np.zeros((len(labels), BLOCK), np.int64)
    for place, plan in enumerate(preset.classes.values()):
        numbers = np.array(list(plan.number), np.int64)[_choose(plan.number, BLOCK, rng)]
        counts[place] = np.where(rng.random(BLOCK) < plan.share, numbers, 0)
    for rule in preset.together:
        added = rng.random(BLOCK) < rule.share
        lacks = (counts[labels.index(rule.present)] > 0) & (counts[labels.index(rule.label)] == 0)
        counts[labels.index(rule.label)] += added & lacks
    counts[:, rng.random(BLOCK) < preset.empty] = 0
    for place, event in enumerate(preset.events):
        for name, number in event.number.items():
            counts[labels.index(name), scenes.event == place] = number
    return counts
