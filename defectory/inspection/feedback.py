"""Feedback: what people say of verdicts, and how it flows into the next version of the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from defectory.errors import InputError, shorten
from defectory.inspection.datasets.records import Dataset, ImageRecord, Label
from defectory.inspection.datasets.references import FileFinder
from defectory.inspection.datasets.versions import compare_versions
from defectory.inspection.verdicts import Verdict


class Feedback(BaseModel):
    """One person's word on one verdict: a line of a feedback file, as JSON.

    ``image`` is the image's path, or its ``s3://`` reference as in the dataset or the results table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1)
    verdict: Verdict
    confirmed: Label
    classes: tuple[str, ...] = ()
    who: str = Field(min_length=1)
    when: AwareDatetime
    note: str = ""

    @property
    def corrects(self) -> bool:
        """Whether the person contradicts the model; a REVIEW is answered, never contradicted."""
        return (self.verdict, self.confirmed) in {("PASS", "anomaly"), ("FAIL", "normal")}


def read_feedback(file: Path) -> tuple[Feedback, ...]:
    """Read a feedback file: one `Feedback` as JSON a line, UTF-8; empty lines are skipped.

    Raises:
        InputError: a line is none; the message names it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(str(file), "a text file (UTF-8) that can be read", str(error)) from None
    return tuple(_feedback(line, f"{file}, line {number}") for number, line in enumerate(lines, 1) if line.strip())


def merge_feedback(
    dataset: Dataset, feedback: Iterable[Feedback], *, images: Path | None = None, frozen: Dataset | None = None
) -> Dataset:
    """The next version of ``dataset``: labels as people confirmed them, and the images they confirmed added.

    The latest word on an image counts.  A corrected label takes the old classes and mask away where they no longer
    hold.  The result's ``parent`` is this version and its ``changes`` say what is different, for the next training.

    Args:
        dataset: what the model was trained on.
        feedback: what people said.
        images: where to look for images that are not in the dataset, by file name; its root by default.
        frozen: images never to learn from, because models are compared on them; what people said of them is left out.

    Raises:
        InputError: an image is neither in the dataset nor in the folder.
        ImageError: an image cannot be read.
    """
    records = list(dataset.records)
    place = {key: number for number, record in enumerate(records) for key in _keys(dataset, record)}
    by_content = {dataset.digest(record.path): number for number, record in enumerate(records)}
    kept_out = {frozen.digest(record.path) for record in frozen.records} if frozen else set()
    finder = FileFinder(images or dataset.root)
    for word in latest(feedback):
        number = place.get(word.image)
        path = records[number].path if number is not None else finder.find(word.image)
        if path is None:
            fix = f"Copy it into {finder.root}, or name the folder that holds it."
            raise InputError(f"feedback of {word.who}, image", "an image of the dataset or the folder", word.image, fix)
        digest = dataset.digest(path)
        if digest in kept_out:
            continue
        number = by_content.get(digest) if number is None else number
        if number is None:
            by_content[digest] = len(records)
            records.append(ImageRecord(path, word.confirmed, _classes(word, ()), source_ref=word.image))
        else:
            records[number] = _confirmed(records[number], word)
    merged = replace(dataset, records=tuple(records))
    changes = compare_versions(dataset, merged)
    return replace(merged, parent=dataset.version, changes=tuple(changes.lines())) if changes else dataset


def latest(feedback: Iterable[Feedback]) -> tuple[Feedback, ...]:
    """The last word on each image, in the order they were said; of two at the same time, the one that comes later."""
    last = {word.image: word for word in sorted(feedback, key=lambda word: word.when)}
    return tuple(sorted(last.values(), key=lambda word: word.when))


def _feedback(line: str, place: str) -> Feedback:
    try:
        return Feedback.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "line"
        raise InputError(f"{place}, {field}", f"feedback ({shorten(first['msg'])})") from None


def _keys(dataset: Dataset, record: ImageRecord) -> Iterator[str]:
    """How feedback may name an image of the dataset."""
    yield str(record.path)
    yield dataset.name(record.path)
    if record.source_ref:
        yield record.source_ref


def _confirmed(record: ImageRecord, word: Feedback) -> ImageRecord:
    if word.confirmed == "normal":
        return replace(record, label="normal", classes=(), mask=None, colour_map={})
    classes = _classes(word, record.classes)
    if record.mask is not None and set(classes) != set(record.classes):
        # The old mask marks another defect than the one the person saw.
        return replace(record, label="anomaly", classes=classes, mask=None, colour_map={})
    return replace(record, label="anomaly", classes=classes)


def _classes(word: Feedback, known: tuple[str, ...]) -> tuple[str, ...]:
    if word.confirmed == "normal":
        return ()
    return tuple(dict.fromkeys(word.classes)) or known
