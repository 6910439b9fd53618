"""Rules of safety on what a detector found: who lacks what, who bears what, and what is where it must not be.

A rule is about objects of one class.  In its zone, and large enough, such an object breaks it if it lacks one of the
``required`` classes, or has one of the ``forbidden`` ones; of a rule that names neither, by being there.

    zones:
      A: [[0.1, 0.4], [0.6, 0.4], [0.6, 1], [0.1, 1]]
    rules:
      - {name: hard hats, label: person, required: [hard_hat], zone: A, min_size: 0.1, min_frames: 3}
      - {name: dry floor, label: spill}

An item belongs to an object if half of its box or more is inside the object's, and to one object alone: of several that
hold it, that whose middle line it is nearest to.  So the hat of one person does not cover for another beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import cv2
import numpy as np
import yaml
from pydantic import Field, ValidationError, model_validator

from defectory.detection.detectors.card import ClassName, Share
from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel, explain

if TYPE_CHECKING:
    from defectory.detection.detectors.detector import Detection

Name = Annotated[str, Field(min_length=1, max_length=100)]
Polygon = Annotated[tuple[tuple[Share, Share], ...], Field(min_length=3, max_length=1000)]
"""Corners in order, each x and y in shares of the image's width and height from the upper left; no corner twice."""

# Of an item's box, to belong to an object.
_INSIDE = 0.5


class SafetyRule(FrozenModel):
    """What must not be seen.

    Args:
        name: what alerts call it.
        label: the class that it is about.
        required: classes of which each object has to have one each.
        forbidden: classes of which no object may have any.
        zone: one of the zones, "" for the whole image; an object is where the middle of its box's lower edge is.
        min_size: smaller objects are passed over: the larger of width and height, in shares of the image's.
        min_score: objects of lower scores are passed over, beyond the detector's thresholds.
        min_frames: how many images in a row have to show it before it is told, whichever objects they show.
    """

    name: Name
    label: ClassName
    required: tuple[ClassName, ...] = ()
    forbidden: tuple[ClassName, ...] = ()
    zone: str = ""
    min_size: Share = 0.0
    min_score: Share = 0.0
    min_frames: int = Field(default=1, ge=1, le=100_000)

    @model_validator(mode="after")
    def _names_each_class_once(self) -> Self:
        names = (self.label, *self.required, *self.forbidden)
        if len(set(names)) != len(names):
            raise ValueError("label, required and forbidden that name each class once")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes that it names."""
        return (self.label, *self.required, *self.forbidden)


class Alert(FrozenModel):
    """An object that breaks a rule.

    Args:
        rule, zone: the rule's.
        label, score, box: the object's, as in ``Detection``.
        missing: required classes that it lacks.
        present: forbidden classes that it has.
        frames: images in a row that showed the rule broken, this one included; equal to the rule's ``min_frames`` on
            the first that tells.
    """

    rule: str
    zone: str
    label: str
    score: float
    box: tuple[float, float, float, float]
    missing: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    frames: int = 1

    def describe(self) -> str:
        """The alert as a person reads it: ``hard hats: person without hard_hat in zone A``."""
        parts = [self.label]
        if self.missing:
            parts.append(f"without {' or '.join(self.missing)}")
        if self.present:
            parts.append(f"with {' and '.join(self.present)}")
        if self.zone:
            parts.append(f"in zone {self.zone}")
        return f"{self.rule}: {' '.join(parts)}"


class SafetyRules(FrozenModel):
    """Rules, and the zones that they speak of."""

    zones: dict[Name, Polygon] = Field(default={})
    rules: tuple[SafetyRule, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _zones_are_there(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("rules of different names")
        for name, corners in self.zones.items():
            if cv2.contourArea(np.asarray(corners, np.float32)) == 0:
                raise ValueError(f"zones.{name}: corners that enclose an area, in order")
        for rule in self.rules:
            if rule.zone and rule.zone not in self.zones:
                raise ValueError(f"rule {rule.name!r}: one of the zones ({', '.join(self.zones)}), not {rule.zone!r}")
        return self

    def check_classes(self, names: Iterable[str]) -> None:
        """Refuse rules about classes that a detector does not know: they would never be broken, or always.

        Raises:
            InputError: a rule names a class that is not among ``names``.
        """
        known = tuple(names)
        for rule in self.rules:
            for label in rule.labels:
                if label not in known:
                    raise InputError(
                        f"rules: {rule.name}", f"one of the detector's classes ({', '.join(known)})", label
                    )

    def broken(self, detections: Sequence[Detection], width: int, height: int) -> tuple[Alert, ...]:
        """What breaks the rules on one image, whatever their ``min_frames``.

        Args:
            detections: what was found on it.
            width, height: of the image in pixels.
        """
        return tuple(alert for rule in self.rules for alert in self._breaking(rule, detections, width, height))

    def _breaking(self, rule: SafetyRule, detections: Sequence[Detection], width: int, height: int) -> Iterable[Alert]:
        subjects = [item for item in detections if item.label == rule.label]
        belongings = _belongings(subjects, [item for item in detections if item.label in rule.labels[1:]])
        for subject, has in zip(subjects, belongings, strict=True):
            size = max(subject.box[2] / width, subject.box[3] / height)
            if size < rule.min_size or subject.score < rule.min_score:
                continue
            if rule.zone and not _stands_in(self.zones[rule.zone], subject, width, height):
                continue
            missing = tuple(name for name in rule.required if name not in has)
            present = tuple(name for name in rule.forbidden if name in has)
            if missing or present or not (rule.required or rule.forbidden):
                fields = subject.model_dump()
                yield Alert(rule=rule.name, zone=rule.zone, missing=missing, present=present, **fields)


class RuleWatch:
    """Rules kept on images of one camera, in their order; knows how long each has been broken.

    Example::

        watch = RuleWatch(load_safety_rules(Path("rules.yaml")))
        for image in camera:
            for alert in watch.see(detector.detect(image), image.shape[1], image.shape[0]):
                print(alert.describe())
    """

    def __init__(self, rules: SafetyRules) -> None:
        self.rules = rules
        self._frames: Mapping[str, int] = {}

    def see(self, detections: Sequence[Detection], width: int, height: int) -> tuple[Alert, ...]:
        """The alerts of the next image: those of rules that have been broken on ``min_frames`` images in a row."""
        broken = self.rules.broken(detections, width, height)
        self._frames = {name: self._frames.get(name, 0) + 1 for name in {alert.rule for alert in broken}}
        due = {rule.name for rule in self.rules.rules if self._frames.get(rule.name, 0) >= rule.min_frames}
        return tuple(
            alert.model_copy(update={"frames": self._frames[alert.rule]}) for alert in broken if alert.rule in due
        )


def load_safety_rules(path: Path) -> SafetyRules:
    """Read rules from a file of YAML or JSON.

    Raises:
        InputError: the file cannot be read, or holds something else; the message names the field.
    """
    try:
        return SafetyRules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError("rules", f"a file that can be read ({error.strerror})", str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("rules", f"a file of YAML or JSON ({shorten(str(error))})", str(path)) from None
    except ValidationError as error:
        problem = explain(error)
        raise InputError(f"rules: {problem.field}", problem.rule, problem.got) from None


def _belongings(subjects: Sequence[Detection], items: Sequence[Detection]) -> list[set[str]]:
    """The classes of the items that belong to each subject."""
    belongings: list[set[str]] = [set() for _ in subjects]
    for item in items:
        holders = [number for number, subject in enumerate(subjects) if _inside(item, subject) >= _INSIDE]
        if holders:
            belongings[min(holders, key=lambda number: _offset(item, subjects[number]))].add(item.label)
    return belongings


def _inside(item: Detection, subject: Detection) -> float:
    """The share of the item's box that is inside the subject's."""
    sides = []
    for start, length in ((0, 2), (1, 3)):
        first = max(item.box[start], subject.box[start])
        last = min(item.box[start] + item.box[length], subject.box[start] + subject.box[length])
        sides.append(max(last - first, 0.0))
    area = item.box[2] * item.box[3]
    return sides[0] * sides[1] / area if area > 0 else 0.0


def _offset(item: Detection, subject: Detection) -> float:
    """How far the item's middle is from the subject's middle line, in the subject's widths."""
    middles = [box[0] + box[2] / 2 for box in (item.box, subject.box)]
    return abs(middles[0] - middles[1]) / subject.box[2]


def _stands_in(corners: Polygon, subject: Detection, width: int, height: int) -> bool:
    """Whether the middle of the subject's lower edge is in the polygon, or on its edge; cut off at the image's edge."""
    left, top, box_width, box_height = subject.box
    foot = (min(max((left + box_width / 2) / width, 0.0), 1.0), min(max((top + box_height) / height, 0.0), 1.0))
    return cv2.pointPolygonTest(np.asarray(corners, np.float32), foot, measureDist=False) >= 0
