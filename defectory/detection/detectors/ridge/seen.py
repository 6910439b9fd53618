"""What the frozen network makes of the training images: worked out once, read again by each head."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from defectory.detection.detectors.boxes import Corners
from defectory.writing import writing_to


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """An image's maps by their names, and the corners and classes of what is on it, in the input's pixels."""

    maps: Mapping[str, NDArray[np.float32]]
    boxes: Corners
    labels: NDArray[np.intp]


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile()


@dataclass(slots=True)
class SeenImages:
    """Images as they were seen, some half a megabyte each, in a file that is gone with the process.

    Numbers are of half precision: three digits are more than a regression needs.

    Raises:
        UnwritableError: the disk is full.
    """

    _file: IO[bytes] = field(default_factory=_temporary)
    _entries: list[tuple[dict[str, tuple[int, ...]], Corners, NDArray[np.intp]]] = field(default_factory=list)

    def add(self, image: SeenImage) -> None:
        """Keep one more."""
        with writing_to(Path(tempfile.gettempdir())):
            for values in image.maps.values():
                self._file.write(np.ascontiguousarray(values, np.float16).data)
        shapes = {name: values.shape for name, values in image.maps.items()}
        self._entries.append((shapes, image.boxes, image.labels))

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[SeenImage]:
        self._file.seek(0)
        for shapes, boxes, labels in self._entries:
            maps = {name: self._read(shape) for name, shape in shapes.items()}
            yield SeenImage(maps, boxes, labels)

    def _read(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        content = self._file.read(2 * int(np.prod(shape)))
        return np.frombuffer(content, np.float16).reshape(shape).astype(np.float32)

    def close(self) -> None:
        """Give the disk its room back."""
        self._file.close()

    def __enter__(self) -> SeenImages:
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401
        self.close()
