"""Records on a disk: those of a dataset of any size, one after the other, in no more memory than their ids take."""

from __future__ import annotations

from array import array
from tempfile import TemporaryFile
from typing import Self

from defectory.images.assembly import read_record
from defectory.images.items import ItemRecord, ItemRecords


class RecordFile(ItemRecords):
    """Records in a temporary file, by place and by id; it goes when it is closed.

    >>> from defectory.images.items import Item
    >>> item = Item(renderer="procedural", defect="dent", seed=1)
    >>> with RecordFile() as records:
    ...     records.append(ItemRecord(id="dent-1", item=item, outcome="failed", reason="no room"))
    ...     (len(records), records[0].reason, "dent-2" in records.places)
    (1, 'no room', False)
    """

    def __init__(self) -> None:
        self._stream = TemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self._offsets = array("Q", [0])
        self.places: dict[str, int] = {}
        """Where the record of an id is."""

    def append(self, record: ItemRecord) -> None:
        """Add a record at the end; each id once."""
        content = record.model_dump_json().encode()
        self._stream.seek(self._offsets[-1])
        self._stream.write(content)
        self.places[record.id] = len(self)
        self._offsets.append(self._offsets[-1] + len(content))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def at(self, place: int) -> ItemRecord:
        """The record at this place, read from the disk."""
        start, end = self._offsets[place], self._offsets[place + 1]
        self._stream.seek(start)
        return read_record(self._stream.read(end - start), "record")

    def close(self) -> None:
        """Remove the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
