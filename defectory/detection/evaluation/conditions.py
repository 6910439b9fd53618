"""Conditions: how well objects are found by their size, occlusion and truncation, and by the light they are seen in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from defectory.detection.evaluation.results import GroupResult
from defectory.detection.labelled import LabelledObject
from defectory.detection.matching import COCO_AREAS
from defectory.metrics.estimates import proportion

MOST_GROUPS = 12
"""Groups of one condition of images, the largest."""

_VISIBLE = ((0.9, "seen by 90 % or more"), (0.6, "seen by 60 to 90 %"), (0.0, "seen by less than 60 %"))
_TRUNCATION = ((0.3, "cut off by 30 % or more"), (0.02, "cut off by less than 30 %"), (0.0, "within the picture"))


@dataclass(frozen=True, slots=True)
class Case:
    """An object or a detection: its area, whether it was found or is right, its image's conditions, and the object."""

    area: float
    is_right: bool
    conditions: Mapping[str, str]
    item: LabelledObject | None = None


def group_results(objects: Sequence[Case], detections: Sequence[Case]) -> tuple[GroupResult, ...]:
    """Recall, and precision where detections belong to groups, by every condition that is known.

    Args:
        objects: all objects, each found or not.
        detections: all that was reported, each right or not.
    """
    results = []
    for condition, group_of, has_precision in (
        ("size", _size, True),
        ("visible share", _visible_share, False),
        ("truncation", _truncation, False),
    ):
        results += _by(condition, [(group_of(case), case) for case in objects], has_precision, [
            (group_of(case), case) for case in detections if has_precision
        ])  # fmt: skip
    for name in sorted({name for case in objects for name in case.conditions}):
        pairs = [[(case.conditions.get(name, ""), case) for case in cases] for cases in (objects, detections)]
        results += _by(name, pairs[0], True, pairs[1])
    return tuple(results)


def _by(
    condition: str, objects: list[tuple[str, Case]], has_precision: bool, detections: list[tuple[str, Case]]
) -> list[GroupResult]:
    counts, found = Counter(group for group, _ in objects), Counter(group for group, case in objects if case.is_right)
    reported = Counter(group for group, _ in detections)
    right = Counter(group for group, case in detections if case.is_right)
    return [
        GroupResult(
            condition=condition,
            group=group,
            objects=count,
            recall=proportion(found[group], count),
            precision=proportion(right[group], reported[group]) if has_precision else None,
        )
        for group, count in counts.most_common(MOST_GROUPS)
        if group
    ]


def object_groups(item: LabelledObject) -> dict[str, str]:
    """The groups of an object by size, visible share and truncation, as far as they are known.

    >>> object_groups(LabelledObject("cone", (0, 0, 20, 20), area=300, visible=0.7))
    {'size': 'small', 'visible share': 'seen by 60 to 90 %'}
    """
    case = Case(item.area, True, {}, item)
    groups = {"size": _size(case), "visible share": _visible_share(case), "truncation": _truncation(case)}
    return {condition: group for condition, group in groups.items() if group}


def area_group(area: float) -> str:
    """The group by size of so many square pixels."""
    return _size(Case(area, True, {}))


def _size(case: Case) -> str:
    return next(name for name in ("small", "medium", "large") if case.area <= COCO_AREAS[name][1])


def _visible_share(case: Case) -> str:
    return "" if case.item is None or case.item.visible is None else _band(case.item.visible, _VISIBLE)


def _truncation(case: Case) -> str:
    return "" if case.item is None or case.item.truncated is None else _band(case.item.truncated, _TRUNCATION)


def _band(share: float, bands: Sequence[tuple[float, str]]) -> str:
    return next(name for low, name in bands if share >= low)
