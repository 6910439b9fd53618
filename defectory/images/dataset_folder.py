"""Dataset folder: a synthetic dataset on disk, in which what is done stays done, whatever happens after."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from defectory.claims import check_claim, mark
from defectory.datasets.records import Dataset, file_digest
from defectory.datasets.versions import DATASET_FILE, load_stored
from defectory.errors import ImageError, InputError, UnwritableError
from defectory.images.assembly import assemble, classes_of, read_record
from defectory.images.filters import mark_duplicates
from defectory.images.gate_result import GateResult
from defectory.images.items import ItemRecord, record_file
from defectory.writing import UNFINISHED, write_whole

COMMAND = "defectory images"
_RECORDS = "records"


class DatasetFolder:
    """The folder of a synthetic dataset (see `defectory.images.items` for what lies where).

    Files appear whole or not at all, an item's record after its pictures and ``dataset.json`` after all: a full disk
    or a pulled plug leaves a folder to go on with.  Items may be stored from several threads at once.
    """

    def __init__(self, path: Path) -> None:
        """Open a folder: a new or empty one, or one of a synthetic dataset, to which pictures are added.

        Raises:
            InputError: it is none of these, or cannot be read or written.
        """
        self.path = path
        with _explained(path):
            if not _is_synthetic(path):
                check_claim(path, COMMAND)
            mark(path, COMMAND)
            (path / _RECORDS).mkdir(parents=True, exist_ok=True)
            for unfinished in path.glob(f"**/{UNFINISHED}*"):
                unfinished.unlink()

    def record(self, identity: str) -> ItemRecord | None:
        """The record of an item that is done, if its files are still those that were stored."""
        file = self.path / record_file(identity)
        with _explained(self.path):
            if not file.is_file():
                return None
            content = file.read_bytes()
        try:
            record = read_record(content, str(file))
        except InputError:
            return None
        stored = {record.image: record.image_sha256, record.mask or "": record.mask_sha256}
        try:
            unchanged = all(file_digest(self.path / name) == digest for name, digest in stored.items() if name)
        except ImageError:
            unchanged = False
        return record if unchanged else None

    def records(self, *, but: Collection[str] = ()) -> list[ItemRecord]:
        """All records, by id, without those of the ids in ``but``.

        Raises:
            InputError: one cannot be read.
        """
        with _explained(self.path):
            files = sorted(file for file in (self.path / _RECORDS).glob("*.json") if file.stem not in but)
            return [read_record(file.read_bytes(), str(file)) for file in files]

    def store(self, record: ItemRecord, files: Mapping[str, bytes]) -> None:
        """Write an item's files, its record last; if one cannot be written, none of them stays.

        Raises:
            InputError: the disk is full, say.
        """
        # While it is made anew, an item is not done.
        with _explained(self.path):
            (self.path / record_file(record.id)).unlink(missing_ok=True)
        try:
            self._write(files)
        except BaseException:
            for name in files:
                with contextlib.suppress(OSError):
                    (self.path / name).unlink(missing_ok=True)
            raise

    def publish(
        self,
        records: Sequence[ItemRecord],
        *,
        title: str,
        classes: Mapping[str, str] | None = None,
        gate: GateResult | None = None,
        created: datetime | None = None,
    ) -> tuple[Dataset, tuple[ItemRecord, ...]]:
        """Describe the dataset of ``records`` in every form; the pictures of duplicates go.

        Args:
            records: of all that is to be in it, the oldest first.
            title: what the contact sheet is called.
            classes: what the dataset calls a kind of defect; what was said of others before still holds.
            gate: what the gate found.
            created: when; now by default.

        Returns:
            The dataset, and the records as they are now.

        Raises:
            InputError: the disk is full, say.
        """
        all_classes = self._classes() | dict(classes or {})
        marked = tuple(mark_duplicates(records))
        for before, after in zip(records, marked, strict=True):
            if after.outcome != before.outcome:
                self._forget(before)
        labels = {f"{record.id}.txt" for record in marked if record.mask is not None}
        with _explained(self.path):
            for label in (self.path / "labels").glob("*.txt"):
                if label.name not in labels:
                    label.unlink()
            for name, pieces in assemble(
                records, self._read, title=title, classes=all_classes, gate=gate, created=created
            ):
                write_whole(self.path / name, pieces)
        return load_stored(self.path / DATASET_FILE), marked

    def _classes(self) -> dict[str, str]:
        file = self.path / DATASET_FILE
        return classes_of(load_stored(file)) if file.is_file() else {}

    def _forget(self, record: ItemRecord) -> None:
        with _explained(self.path):
            # The record first: without it the pictures are nobody's, with it they would be missed.
            for name in filter(
                None, (record_file(record.id), record.image, record.mask, record.thumbnail, record.closeup)
            ):
                (self.path / name).unlink(missing_ok=True)

    def _read(self, name: str) -> bytes:
        with _explained(self.path):
            return (self.path / name).read_bytes()

    def _write(self, files: Mapping[str, bytes]) -> None:
        with _explained(self.path):
            for name, content in files.items():
                write_whole(self.path / name, content)


def _is_synthetic(folder: Path) -> bool:
    """Whether the folder is of a synthetic dataset: releases before 0.2 did not mark theirs."""
    try:
        return "synthesis" in load_stored(folder / DATASET_FILE).notes
    except (InputError, OSError):
        return False


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fix = "What is done stays done: make room, then run the same command again."
        reason = error.strerror or str(error)
        raise UnwritableError("out", "a folder that can be written to", reason, str(folder), fix) from error
