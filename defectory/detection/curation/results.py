"""Weak spots as records, and their file ``weak-spots.json``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from defectory.aws.tokens import TokenUsage
from defectory.detection.labelled import FloatBox, Origin
from defectory.errors import InputError
from defectory.metrics.estimates import Difference, Estimate
from defectory.validation import FrozenModel, explain
from defectory.writing import write_whole, writing_to

WEAK_SPOTS = "weak-spots.json"

Weakness = Literal["missed", "confused", "false alarm", "low confidence"]
SuspectReason = Literal["detected without a label", "labelled and never found"]


class Example(FrozenModel):
    """A case of a weak spot or a doubtful label: its image, box (left, top, width, height), and a note."""

    image: str
    label: str
    box: FloatBox
    note: str = ""


class WeakSpot(FrozenModel):
    """Where a detector fails more often than elsewhere.

    Args:
        kind: how it fails.
        label: the class; "" for all.
        other: what the class is confused with.
        condition, group: under which condition, such as ``light``, ``dim``; "" for any.
        count: failures among the ``cases``, which are objects; of false alarms, what was reported; of low confidence,
            objects found.
        rate: of failures here, with its own 95 % interval, which takes cases of an image for independent.
        rest: of all other cases of the class; of a class those of all others, of a confusion all other pairs.
        difference: ``rate`` less ``rest``.  Its interval, above 0, allows for all the groups that were compared and for
            cases of one image that fail together.
        examples: some of the failures.
    """

    kind: Weakness
    label: str = ""
    other: str = ""
    condition: str = ""
    group: str = ""
    count: int
    cases: int
    rate: Estimate
    rest: Estimate
    difference: Difference
    examples: tuple[Example, ...] = ()

    @property
    def name(self) -> str:
        """The class and the condition in words."""
        parts = [self.label.replace("_", " "), f"taken for {self.other.replace('_', ' ')}" if self.other else ""]
        parts.append(f"{self.condition}: {self.group}" if self.condition else "")
        return ", ".join(part for part in parts if part)


class Suspect(FrozenModel):
    """A label of a real set that the detector contradicts; one or the other is wrong."""

    reason: SuspectReason
    score: float
    example: Example


class AttributeSource(FrozenModel):
    """Who said what is seen of the objects.

    Args:
        name: ``measured`` on the pixels, or ``bedrock``.
        model_id: the model that was asked, if one was.
        described: objects that have attributes.
        left: objects that have none: too small to measure, not drawn, or not usably answered.
        tokens: what the model read and wrote.
    """

    name: Literal["measured", "bedrock"]
    model_id: str = ""
    described: int
    left: int
    tokens: TokenUsage | None = None


class WeakSpots(FrozenModel):
    """What one detector is weak at on the labelled images of one folder.

    ``compared`` counts the groups that were compared, ``too_few`` those left out because they or the rest have fewer
    cases than ``fewest``.  ``suspects`` are the labels most in doubt, of real images alone, out of ``suspected``.
    ``attributes`` says where conditions come from that were seen in the pictures.
    """

    version: Literal[1] = 1
    created: datetime
    model_version: str
    classes: tuple[str, ...]
    origin: Origin
    dataset: str
    images: int
    objects: int
    iou: float
    fewest: int
    compared: int
    too_few: int
    spots: tuple[WeakSpot, ...] = ()
    attributes: AttributeSource | None = None
    suspected: int = 0
    suspects: tuple[Suspect, ...] = ()


def write_weak_spots(weak: WeakSpots, folder: Path) -> Path:
    """Write ``weak-spots.json`` into ``folder``.

    Raises:
        UnwritableError: it cannot be written.
    """
    with writing_to(folder):
        return write_whole(folder / WEAK_SPOTS, f"{weak.model_dump_json(indent=1)}\n".encode())


def read_weak_spots(file: Path) -> WeakSpots:
    """The weak spots of a file ``weak-spots.json``.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    fix = "`defectory detect curate` writes one."
    try:
        return WeakSpots.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError("weak spots", f"a file that can be read ({error.strerror})", str(file), fix) from None
    except ValidationError as error:
        told = explain(error)
        raise InputError(f"{file.name}: {told.field}", told.rule, told.got, fix) from None
