"""Feedback: what people say of verdicts, and how it flows into the next version of the dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from defectory.datasets.records import Dataset, ImageRecord, Label
from defectory.datasets.references import FileFinder
from defectory.datasets.versions import compare_versions
from defectory.errors import InputError, shorten
from defectory.inspection.verdicts import Verdict
from defectory.validation import FrozenModel


class Feedback(FrozenModel):
    """One person's word on one verdict: a line of a feedback file, as JSON.

    ``image`` is the image's path or file name, or its reference in the dataset; ``source_ref`` is where it came from.
    ``verdict`` is what the model had said, None where it could not say anything.
    """

    image: str = Field(min_length=1)
    verdict: Verdict | None = None
    confirmed: Label
    classes: tuple[str, ...] = ()
    who: str = Field(min_length=1)
    when: AwareDatetime
    note: str = ""
    source_ref: str = ""

    @model_validator(mode="after")
    def _has_classes_of_anomalies_only(self) -> Self:
        if self.classes and self.confirmed == "normal":
            raise ValueError("a normal part has no classes of defects")
        return self

    @property
    def corrects(self) -> bool:
        """Whether the person contradicts the model; a REVIEW is answered, never contradicted."""
        return (self.verdict, self.confirmed) in {("PASS", "anomaly"), ("FAIL", "normal")}


def confirm(
    image: Path,
    label: Label,
    by: str,
    *,
    classes: Sequence[str] = (),
    verdict: Verdict | None = None,
    note: str = "",
) -> Feedback:
    """One person's word on an image, said now.

    Args:
        image: the file that somebody looked at.
        label: what it really is.
        by: who says so.
        classes: kinds of defect, of an anomaly.
        verdict: what the model had said.
        note: anything worth keeping.

    Raises:
        InputError: there is no such image, nobody says so, or a normal part is given classes.
    """
    if not image.is_file():
        raise InputError("image", "an existing file", str(image))
    if not by.strip():
        raise InputError("by", "a name", by)
    if classes and label == "normal":
        raise InputError("class", "left out for a normal part", list(classes))
    return Feedback(
        image=str(image.absolute()),
        verdict=verdict,
        confirmed=label,
        classes=tuple(classes),
        who=by.strip(),
        when=datetime.now(UTC),
        note=note,
    )


def read_feedback(file: Path) -> tuple[Feedback, ...]:
    """Read a feedback file: one `Feedback` as JSON a line, UTF-8; empty lines are skipped.

    An image that lies where its relative path says, from the file's folder on, gets its whole path.

    Raises:
        InputError: a line is none; the message names it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(str(file), "a text file (UTF-8) that can be read", str(error)) from None
    words = [_feedback(line, f"{file}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    beside = FileFinder(file.parent)
    return tuple(word.model_copy(update={"image": str(beside.beside(word.image) or word.image)}) for word in words)


def append_feedback(file: Path, feedback: Iterable[Feedback]) -> None:
    """Add lines to a feedback file, which is made where there is none.

    Raises:
        InputError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{word.model_dump_json(exclude_defaults=True)}\n" for word in feedback)
    except OSError as error:
        raise InputError(str(file), f"a file that can be written ({error.strerror})") from None


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
    known = {name: record.path for record in records for name in _names(dataset, record)}
    copies: defaultdict[str, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        copies[dataset.digest(record.path)].append(number)
    kept_out = {frozen.digest(record.path) for record in frozen.records} if frozen else set()
    finder = FileFinder(images or dataset.root)
    for word in latest(feedback):
        path = known.get(word.image) or finder.find(word.image) or known.get(word.source_ref)
        if path is None:
            fix = f"Copy it into {finder.root}, or name the folder that holds it."
            raise InputError(f"feedback of {word.who}, image", "an image of the dataset or the folder", word.image, fix)
        # What is labelled is the picture, under whatever names it is there: an upload may repeat a known one.
        digest = dataset.digest(path)
        if digest in kept_out:
            continue
        if digest not in copies:
            copies[digest].append(len(records))
            records.append(ImageRecord(path, source_ref=word.source_ref or word.image))
        for number in copies[digest]:
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


def _names(dataset: Dataset, record: ImageRecord) -> Iterator[str]:
    """How feedback may name an image of the dataset."""
    yield str(record.path)
    yield str(record.path.absolute())
    yield dataset.name(record.path)
    if record.source_ref:
        yield record.source_ref


def _confirmed(record: ImageRecord, word: Feedback) -> ImageRecord:
    if word.confirmed == "normal":
        return replace(record, label="normal", classes=(), mask=None, colour_map={})
    classes = tuple(dict.fromkeys(word.classes)) or record.classes
    if record.mask is not None and set(classes) != set(record.classes):
        # The old mask marks another defect than the one the person saw.
        return replace(record, label="anomaly", classes=classes, mask=None, colour_map={})
    return replace(record, label="anomaly", classes=classes)
