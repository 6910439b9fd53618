"""Weak spots: where a detector fails more often than elsewhere, by class and condition, chance left aside.

Each group of cases (a class, a condition, or a condition of one class) is compared with the rest by Fisher's exact
test.  Of classes and conditions, and apart from them of conditions of a class, those stand of which one in forty at
most is chance (Benjamini & Hochberg), and whose difference lies above 0 by Newcombe's interval, as wide as it then
has to be (Benjamini & Yekutieli, "False discovery rate-adjusted multiple confidence intervals", 2005).  Cases that fail
together on one image count for fewer (Kish's design effect).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress

import numpy as np

from defectory.detection.curation.attributes import Attributes, Describer, views_of
from defectory.detection.curation.results import Example, Suspect, Weakness, WeakSpot, WeakSpots
from defectory.detection.detectors.detector import Detector
from defectory.detection.evaluation.conditions import area_group, object_groups
from defectory.detection.evaluation.evaluate import Examination, Problems, alarms_of, examine, misses_of
from defectory.detection.fingerprints import share_seen
from defectory.detection.labelled import LabelledSet
from defectory.detection.matching import box_overlaps
from defectory.errors import InputError
from defectory.metrics.estimates import (
    design_effect,
    exceeds_by_chance,
    false_discoveries_held,
    proportion,
    proportion_difference,
)
from defectory.progress import OnProgress, ignore_progress

FEWEST = 8
"""Cases that a group and its rest have at least: fewer say nothing once some dozen groups are compared."""

MOST_EXAMPLES = 6
MOST_SUSPECTS = 60

_LOW = 0.25
_NEAR = 0.3
_NEVER = 0.1
_MOST_LEARNED = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """One case that may fail: the number of its image, its class, the conditions it is under, and what to show of it.

    ``other`` is the class that an object may be taken for: a case for each of them.
    """

    image: int
    label: str
    groups: Mapping[str, str]
    failed: bool
    example: Example
    other: str = ""


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A group of cases and the rest they are compared with."""

    kind: Weakness
    label: str
    other: str
    condition: str
    group: str
    cases: list[Trial]
    rest: list[Trial]
    effect: float

    @property
    def is_within_class(self) -> bool:
        """Whether it is of a condition of one class."""
        return bool(self.label and self.condition)

    @property
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Failures and cases, of the group and of the rest."""
        group, rest = ((sum(trial.failed for trial in trials), len(trials)) for trials in (self.cases, self.rest))
        return group, rest


def find_weak_spots(
    detector: Detector,
    labelled: LabelledSet,
    *,
    iou: float = 0.5,
    describer: Describer | None = None,
    problems: Problems | None = None,
    on_progress: OnProgress = ignore_progress,
) -> tuple[WeakSpots, Examination]:
    """What ``detector`` is weak at on ``labelled``, and the examination that this was read from.

    Args:
        detector: what detects.
        labelled: a curation set: images it has not learned from, and not those of the frozen test set, which would then
            no longer be unseen by whoever chooses what to train on.
        iou: overlap from which on an object counts as found.
        describer: says what can be seen of the objects; what it says are conditions beside those that are known.
        problems: hears of images that cannot be read, and are left out.
        on_progress: hears of each image.

    Raises:
        InputError: the detector has learned from these images; otherwise as `evaluate_detector`.
    """
    refuse_learned(detector, labelled)
    examination = examine(detector, labelled, iou=iou, problems=problems, on_progress=on_progress)
    description = describer.describe(views_of(examination), on_progress=on_progress) if describer else None
    trials = _object_trials(examination, description.attributes if description else [{}] * len(examination.objects))
    spots, compared, too_few = weak_spots_of(
        {**trials, "false alarm": _alarm_trials(examination)}, classes=examination.classes
    )
    suspects = _suspects(examination) if labelled.origin == "real" else []
    weak = WeakSpots(
        created=datetime.now(UTC),
        model_version=detector.card.version,
        classes=detector.card.names,
        origin=labelled.origin,
        dataset=labelled.root.name,
        images=len(examination.seen.images),
        objects=len(examination.objects),
        iou=iou,
        fewest=FEWEST,
        compared=compared,
        too_few=too_few,
        spots=spots,
        attributes=description.source if description else None,
        suspected=len(suspects),
        suspects=tuple(suspects[:MOST_SUSPECTS]),
    )
    return weak, examination


def refuse_learned(detector: Detector, labelled: LabelledSet) -> None:
    """Refuse images that ``detector`` was trained on: on them it seems to have no weak spot.

    Raises:
        InputError: a twentieth of what it has learned from is among them.
    """
    share = share_seen(detector.card.sketch, labelled)
    if share > _MOST_LEARNED:
        got = f"about {share:.0%} of what it has learned from, in {labelled.root}"
        fix = "Compose a curation set of its own: `defectory detect compose` with another --seed and --out."
        raise InputError("DIR", "labelled images that the detector was not trained on", got, fix)


def weak_spots_of(
    trials: Mapping[Weakness, Sequence[Trial]], *, classes: Sequence[str]
) -> tuple[tuple[WeakSpot, ...], int, int]:
    """The weak spots among the trials of each kind, by falling lower end of the difference's interval.

    Returns:
        Them, how many groups were compared, and how many were too small to be.
    """
    comparisons = [item for kind, cases in trials.items() for item in _comparisons(kind, cases, classes)]
    large = [item for item in comparisons if min(len(item.cases), len(item.rest)) >= FEWEST]
    # Hundreds of conditions of single classes would drown the classes and conditions themselves.
    spots = _stand([item for item in large if not item.is_within_class])
    spots += _stand([item for item in large if item.is_within_class])
    spots.sort(key=lambda spot: -spot.difference.low)
    return tuple(spots), len(large), len(comparisons) - len(large)


def _stand(family: Sequence[_Comparison]) -> list[WeakSpot]:
    """The weak spots of comparisons that are looked at together."""
    chances = [exceeds_by_chance(*item.counts, design_effect=item.effect) for item in family]
    selected = list(compress(family, false_discoveries_held(chances)))
    return [spot for item in selected if (spot := _judge(item, len(family) / len(selected))) is not None]


def _comparisons(kind: Weakness, trials: Sequence[Trial], classes: Sequence[str]) -> Iterable[_Comparison]:
    """Every class against the others, every condition against its rest, and this again within each class."""
    effect = _effect(trials)
    if kind == "confused":
        for label, other in sorted({(trial.label, trial.other) for trial in trials}):
            pair = [(trial.label, trial.other) == (label, other) for trial in trials]
            yield _Comparison(kind, label, other, "", "", *_split(trials, pair), effect)
        return
    present = [name for name in classes if any(trial.label == name for trial in trials)]
    for label in present:
        yield _Comparison(kind, label, "", "", "", *_split(trials, [trial.label == label for trial in trials]), effect)
    for label in ("", *(present if len(present) > 1 else ())):
        cases = [trial for trial in trials if label in ("", trial.label)]
        for condition, group in sorted({pair for trial in cases for pair in trial.groups.items()}):
            known = [trial for trial in cases if condition in trial.groups]
            belongs = [trial.groups[condition] == group for trial in known]
            yield _Comparison(kind, label, "", condition, group, *_split(known, belongs), effect)


def _split(trials: Sequence[Trial], belongs: Sequence[bool]) -> tuple[list[Trial], list[Trial]]:
    return list(compress(trials, belongs)), [trial for trial, is_in in zip(trials, belongs, strict=True) if not is_in]


def _effect(trials: Sequence[Trial]) -> float:
    """The design effect of failures that share an image."""
    if not trials:
        return 1.0
    images = np.array([trial.image for trial in trials])
    failed = np.array([trial.failed for trial in trials], np.float64)
    counts = (np.asarray(np.bincount(images, weights), np.float64) for weights in (failed, np.ones(len(images))))
    return design_effect(*counts)


def _judge(item: _Comparison, comparisons: float) -> WeakSpot | None:
    """The weak spot, if it is one."""
    failures = [trial for trial in item.cases if trial.failed]
    counts = item.counts
    difference = proportion_difference(*counts, comparisons=comparisons, design_effect=item.effect)
    rates = proportion(*counts[0]), proportion(*counts[1])
    if difference.low <= 0 or rates[0] is None or rates[1] is None:
        return None
    return WeakSpot(
        kind=item.kind,
        label=item.label,
        other=item.other,
        condition=item.condition,
        group=item.group,
        count=len(failures),
        cases=len(item.cases),
        rate=rates[0],
        rest=rates[1],
        difference=difference,
        examples=tuple(trial.example for trial in failures[:MOST_EXAMPLES]),
    )


def _object_trials(x: Examination, attributes: Sequence[Attributes]) -> dict[Weakness, list[Trial]]:
    """Of each object: whether it was missed, taken for another class, or found with a low score."""
    misses = {(miss.image, miss.label, miss.box): miss for miss in misses_of(x)}
    scores = np.full(len(x.objects), np.nan)
    scores[x.truth[x.is_right]] = x.reported.scores[x.is_right]
    # Thresholds and scores differ by class: what counts is how far above its threshold an object was found.
    above = (scores - x.thresholds[x.objects.labels]) / np.maximum(1 - x.thresholds[x.objects.labels], 1e-9)
    low = float(np.nanquantile(above, _LOW)) if x.is_right.any() else 0.0
    missed: list[Trial] = []
    confused: list[Trial] = []
    unsure: list[Trial] = []
    for row, (item, is_found) in enumerate(zip(x.items(), x.is_found.tolist(), strict=True)):
        number = int(x.objects.images[row])
        image = x.seen.images[number]
        groups = {**attributes[row], **object_groups(item), **image.conditions}
        miss = misses.get((image.name, item.label, item.box))
        note = f"found at {scores[row]:.2f}" if is_found else miss.reason if miss else "not seen"
        example = Example(image=image.name, label=item.label, box=item.box, note=note)
        missed.append(Trial(number, item.label, groups, not is_found, example))
        taken_for = miss.nearest_label if miss and miss.reason == "taken for another class" else ""
        confused.extend(
            Trial(number, item.label, groups, other == taken_for, example, other)
            for other in x.classes
            if other != item.label
        )
        if is_found:
            unsure.append(Trial(number, item.label, groups, bool(above[row] < low), example))
    return {"missed": missed, "confused": confused, "low confidence": unsure}


def _alarm_trials(x: Examination) -> list[Trial]:
    """Of each detection that is reported: whether it is wrong."""
    reasons = {(alarm.image, alarm.label, alarm.box): alarm for alarm in alarms_of(x)}
    trials = []
    for row, is_right in enumerate(x.is_right.tolist()):
        number = int(x.reported.images[row])
        image, label = x.seen.images[number], x.classes[x.reported.labels[row]]
        left, top, width, height = x.reported.boxes[row].tolist()
        box = (left, top, width, height)
        alarm = None if is_right else reasons[image.name, label, box]
        note = f"{x.reported.scores[row]:.2f}, {alarm.reason}" if alarm else f"{x.reported.scores[row]:.2f}"
        groups = {"size": area_group(width * height), **image.conditions}
        example = Example(image=image.name, label=label, box=box, note=note)
        trials.append(Trial(number, label, groups, not is_right, example))
    return trials


def _suspects(x: Examination) -> list[Suspect]:
    """Labels that the detector contradicts, those it is surest of first.

    A detection without a label counts from the median score of the right ones of its class on; a label as never found
    if nothing of its class lies near it at a tenth of the threshold.
    """
    right: dict[str, list[float]] = defaultdict(list)
    for row in np.flatnonzero(x.is_right).tolist():
        right[x.classes[x.reported.labels[row]]].append(float(x.reported.scores[row]))
    found = []
    for alarm in alarms_of(x):
        if alarm.reason == "nothing there" and alarm.score >= np.median(right[alarm.label] or [np.inf]):
            example = Example(image=alarm.image, label=alarm.label, box=alarm.box, note=f"score {alarm.score:.2f}")
            found.append(Suspect(reason="detected without a label", score=alarm.score, example=example))
    found.extend(_never_found(x))
    return found


def _never_found(x: Examination) -> Iterable[Suspect]:
    items, counts = x.items(), Counter(x.objects.labels[x.is_found].tolist())
    for row in np.flatnonzero(~x.is_found).tolist():
        label = int(x.objects.labels[row])
        here = (x.detections.images == x.objects.images[row]) & (x.detections.labels == label)
        near = here & (box_overlaps(x.detections.boxes, x.objects.boxes[row]) >= _NEAR)
        best = float(x.detections.scores[near].max(initial=0.0))
        # Of a class that is hardly ever found, a miss says nothing of its label.
        if best < _NEVER * x.thresholds[label] and 2 * counts[label] > int((x.objects.labels == label).sum()):
            image = x.seen.images[int(x.objects.images[row])]
            example = Example(image=image.name, label=items[row].label, box=items[row].box, note="nothing near")
            yield Suspect(reason="labelled and never found", score=best, example=example)
