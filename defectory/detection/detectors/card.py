"""A detector's card: what it detects, how its ONNX model is fed and read, and what it was measured to do."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from defectory.validation import FrozenModel

FORMAT = 1
MOST_CLASSES = 1000
LARGEST_INPUT = 4096

ClassName = Annotated[str, Field(min_length=1, max_length=255)]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0.25, le=4)]
ThreeNumbers = tuple[float, float, float]


class InputSpec(FrozenModel):
    """How an image becomes the model's input: float32 ``(1, 3, h, w)``, RGB, ``(pixel / 255 - mean) / std``.

    Args:
        name: of the input.
        height, width: of the input in pixels; for ``fit`` the most that it is.
        resize: ``stretch`` resizes to height and width, whatever the aspect.  ``fit`` keeps the aspect, and fills up
            at the right and lower edge with ``fill`` until both sides are divisible by ``multiple``.
        mean, std: of each channel, of pixels in 0..1.
        fill: level of what is filled up, 0..255.
        multiple: see ``fit``.
        size_name: name of a second input, int64 ``(1, 2)``, that takes the width and height of the image as it came,
            such as D-FINE's ``orig_target_sizes``; "" where there is none.
    """

    name: str
    height: int = Field(ge=8, le=LARGEST_INPUT)
    width: int = Field(ge=8, le=LARGEST_INPUT)
    resize: Literal["stretch", "fit"] = "stretch"
    mean: ThreeNumbers = (0.0, 0.0, 0.0)
    std: ThreeNumbers = (1.0, 1.0, 1.0)
    fill: int = Field(default=0, ge=0, le=255)
    multiple: int = Field(default=1, ge=1, le=256)
    size_name: str = ""

    def scaled(self, scale: float) -> InputSpec:
        """The same of other height and width."""
        return self.model_copy(update={"height": round(self.height * scale), "width": round(self.width * scale)})

    @model_validator(mode="after")
    def _can_be_normalised(self) -> Self:
        if min(self.std) <= 0:
            raise ValueError("std above 0")
        return self


class OutputSpec(FrozenModel):
    """How the model's outputs become boxes and scores.

    ``queries``: ``scores`` is float32 ``(1, n, len(slots))`` of logits, ``boxes`` float32 ``(1, n, 4)``: centre x and
    y, width, height in shares of the input (D-FINE's, RT-DETR's and RF-DETR's raw heads, and the ridge detector).
    ``labelled``: ``scores`` is float32 ``(1, n)`` in 0..1, ``labels`` int64 ``(1, n)``, places in ``slots``, and
    ``boxes`` float32 ``(1, n, 4)``: left, top, right, bottom in pixels, of the image where ``size_name`` told its size,
    of the input else (what D-FINE's exporter appends).

    Args:
        decoding: one of both.
        scores, boxes, labels: names of the outputs.
        slots: the class of each column or label, "" for one that is no class, such as RF-DETR's background.
    """

    decoding: Literal["queries", "labelled"]
    scores: str
    boxes: str
    labels: str = ""
    slots: tuple[str, ...] = Field(min_length=1, max_length=MOST_CLASSES)

    @model_validator(mode="after")
    def _names_its_labels(self) -> Self:
        if (self.decoding == "labelled") != bool(self.labels):
            raise ValueError("the output of labels named for `labelled`, and for nothing else")
        return self


class DetectedClass(FrozenModel):
    """A class that is detected.

    Args:
        name: of the class.
        threshold: the score from which on a detection is reported, 0..1.
        slope, intercept: of Platt's scaling: a score is ``sigmoid(slope * logit + intercept)``, so that of detections
            that score 0.8 four in five are right on images like those it was calibrated on.
        objects: how many it was trained on.
    """

    name: ClassName
    threshold: Share = 0.5
    slope: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    intercept: float = Field(default=0.0, allow_inf_nan=False)
    objects: int = Field(default=0, ge=0)


class DetectorCard(FrozenModel):
    """What a detector is, where it comes from, and what it was measured to do.

    ``version`` is the first 16 hex digits of the SHA-256 of the bundle's content, without the time it was created.
    ``kind`` is who made its model: ``ridge`` here, ``dfine`` or ``rfdetr`` by their exporters, ``onnx`` another one.
    ``scales`` is the image pyramid: the image is looked at in each of these multiples of the input's size, which a
    ``fit`` input alone can be; each costs its share of time.
    ``nms_iou``: of two boxes of one class that overlap more, the better stays; 1 keeps all, as models of queries want.
    ``calibration`` says in a sentence what scores and thresholds rest on; ``license`` is that of the model's weights,
    an SPDX identifier.  ``training`` counts what was learned from, and ``metrics`` are figures on held-out images of
    the same folders; by ``sketch`` images that were learned from are known again (`fingerprints`).
    """

    format: int = FORMAT
    version: str = ""
    created: str
    kind: Literal["ridge", "dfine", "rfdetr", "onnx"]
    classes: tuple[DetectedClass, ...] = Field(min_length=1, max_length=MOST_CLASSES)
    input: InputSpec
    output: OutputSpec
    scales: tuple[Scale, ...] = Field(default=(1.0,), min_length=1, max_length=8)
    nms_iou: float = Field(default=1.0, gt=0, le=1)
    most_detections: int = Field(default=100, ge=1, le=10_000)
    calibration: str = ""
    backbone: str = ""
    license: str = ""
    dataset: str = ""
    training: dict[str, int | float | str] = Field(default_factory=dict)
    sketch: str = Field(default="", max_length=1024, pattern=r"^([0-9a-f]{8})*$")
    metrics: dict[str, float] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seed: int = 0

    @model_validator(mode="after")
    def _classes_have_slots(self) -> Self:
        names = [item.name for item in self.classes]
        used = [slot for slot in self.output.slots if slot]
        if len(set(names)) != len(names):
            raise ValueError("classes that are named once each")
        if sorted(names) != sorted(used):
            raise ValueError("one slot of the output for each class, and no other")
        if self.scales != (1.0,) and self.input.resize != "fit":
            raise ValueError("scales of an input that is `fit`, or 1 alone")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, in their order."""
        return tuple(item.name for item in self.classes)
