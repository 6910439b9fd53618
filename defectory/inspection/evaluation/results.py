"""Results: what an evaluation found, image by image and in figures, and its file ``evaluation.json``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from defectory.datasets.records import Label
from defectory.errors import InputError, shorten
from defectory.inspection.verdicts import DefectArea, Verdict
from defectory.metrics.estimates import Estimate, f1_score, proportion
from defectory.metrics.ranking import auroc, average_precision
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

EVALUATION = "evaluation.json"


class ImageResult(FrozenModel):
    """The truth of one image and what the model says of it.

    ``name`` is its path in the dataset, ``part`` the group of photos it belongs to (empty: it stands alone).  ``iou``
    is the overlap of the mask found with the true one, where there is a true one.  ``picture`` is the number of its
    files in the folder ``pictures``.  ``by_rule`` says that a rule decided the verdict, whatever the score.
    """

    name: str
    label: Label
    classes: tuple[str, ...] = ()
    part: str = ""
    verdict: Verdict
    score: float
    confidence: float
    defects: tuple[DefectArea, ...] = ()
    reasons: tuple[str, ...] = ()
    by_rule: bool = False
    iou: float | None = None
    picture: int


class LeftOut(FrozenModel):
    """An image that no figure counts, or (kind "mask") whose mask none counts, and why."""

    name: str
    kind: Literal["synthetic", "unlabelled", "unreadable", "mask"]
    reason: str


class Outcomes(FrozenModel):
    """How many images of one kind got each verdict."""

    passed: int
    review: int
    failed: int

    @property
    def total(self) -> int:
        """How many images there are."""
        return self.passed + self.review + self.failed

    @classmethod
    def of(cls, images: Iterable[ImageResult]) -> Outcomes:
        """The verdicts of ``images``, counted."""
        verdicts = [image.verdict for image in images]
        return cls(passed=verdicts.count("PASS"), review=verdicts.count("REVIEW"), failed=verdicts.count("FAIL"))


class Metrics(FrozenModel):
    """Figures over all images; None where the images allow none.

    Precision, recall and F1 take FAIL, and nothing else, as the call "anomaly".  ``escapes`` is the share of anomalous
    images that PASS, ``overkill`` the share of normal ones that FAIL, ``review`` the share of all that a person sees.
    """

    auroc: Estimate | None
    average_precision: Estimate | None
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    escapes: Estimate | None
    overkill: Estimate | None
    review: Estimate | None
    normal: Outcomes
    anomaly: Outcomes


class DefectRecall(FrozenModel):
    """How the images of one class of defect fared: ``recall`` = FAIL, ``caught`` = FAIL or REVIEW."""

    name: str
    outcomes: Outcomes
    recall: Estimate | None
    caught: Estimate | None


class PixelClass(FrozenModel):
    """Agreement of the masks of one class; ``iou`` is the mean over the images that hold it or are said to."""

    name: str
    precision: float
    recall: float
    f1: float
    iou: float


class PixelMetrics(FrozenModel):
    """How well heatmaps and masks meet the ``masks`` true masks; good images count as having an empty one.

    ``iou`` is the mean over the images with a true mask, any class against any class.
    """

    masks: int
    auroc: Estimate | None
    iou: Estimate | None
    precision: float
    recall: float
    f1: float
    classes: tuple[PixelClass, ...] = ()


class Evaluation(FrozenModel):
    """All that is known of one model on one dataset."""

    version: Literal[1] = 1
    created: datetime
    model_version: str
    dataset_version: str
    training_images: int | None = None
    review_threshold: float
    fail_threshold: float
    metrics: Metrics
    defects: tuple[DefectRecall, ...] = ()
    pixels: PixelMetrics | None = None
    images: tuple[ImageResult, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether something that should have been measured could not be."""
        return any(image.kind in ("unreadable", "mask") for image in self.left_out)


def measure(images: Sequence[ImageResult]) -> Metrics:
    """The figures over ``images``."""
    good = [image for image in images if image.label == "normal"]
    bad = [image for image in images if image.label == "anomaly"]
    normal, anomaly = Outcomes.of(good), Outcomes.of(bad)
    good_scores, bad_scores = ([image.score for image in kind] for kind in (good, bad))
    return Metrics(
        auroc=auroc(good_scores, bad_scores),
        average_precision=average_precision(good_scores, bad_scores),
        precision=proportion(anomaly.failed, anomaly.failed + normal.failed),
        recall=proportion(anomaly.failed, anomaly.total),
        f1=f1_score(anomaly.failed, normal.failed, anomaly.total - anomaly.failed) if bad else None,
        escapes=proportion(anomaly.passed, anomaly.total),
        overkill=proportion(normal.failed, normal.total),
        review=proportion(normal.review + anomaly.review, len(images)),
        normal=normal,
        anomaly=anomaly,
    )


def recall_by_defect(images: Iterable[ImageResult]) -> tuple[DefectRecall, ...]:
    """How each named defect fared, the most missed first; an image with two defects counts for both."""
    kinds: dict[str, list[ImageResult]] = {}
    for image in images:
        for name in image.classes if image.label == "anomaly" else ():
            kinds.setdefault(name, []).append(image)
    recalls = []
    for name, members in kinds.items():
        outcomes = Outcomes.of(members)
        recall = proportion(outcomes.failed, outcomes.total)
        caught = proportion(outcomes.failed + outcomes.review, outcomes.total)
        recalls.append(DefectRecall(name=name, outcomes=outcomes, recall=recall, caught=caught))
    return tuple(sorted(recalls, key=lambda entry: (-entry.outcomes.passed / entry.outcomes.total, entry.name)))


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in ``folder``.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = folder / EVALUATION
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except OSError as error:
        fix = "`defectory inspect evaluate MODEL DATASET --out DIR` makes one."
        raise InputError(str(path), f"an evaluation that can be read ({error.strerror})", fix=fix) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{path}, {field}", f"as an evaluation has it ({shorten(first['msg'])})") from None


def write_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``evaluation`` into ``folder``."""
    path = folder / EVALUATION
    with writing_to(folder):
        write_whole(path, f"{evaluation.model_dump_json(indent=1)}\n".encode())
    return path
