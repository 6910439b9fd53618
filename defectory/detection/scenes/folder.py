"""The folder of composed scenes: written one scene at a time, read as a stream, gone on with after any interruption.

```
folder/
  classes.json        the classes; a class's id is its place, and never changes
  images/             a picture a scene
  labels/             a file of YOLO a scene
  scenes.jsonl        a line a scene, written after its files: what has a line is done
  failures.jsonl      what could not be made, with the reason
  data.yaml           for YOLO
  coco.json           boxes and masks for COCO
  contact-sheet.html  a page to look at them
```
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from defectory.claims import MARKER, check_claim, mark
from defectory.detection.layouts.records import Split, layout_digest
from defectory.detection.scenes.records import SceneRecord
from defectory.errors import InputError, UnwritableError
from defectory.validation import explain
from defectory.writing import UNFINISHED, write_whole

COMMAND = "defectory detect compose"
SCENES_FILE = "scenes.jsonl"
CLASSES_FILE = "classes.json"
FAILURES_FILE = "failures.jsonl"


def read_scenes(folder: Path) -> Iterator[SceneRecord]:
    """The scenes of a folder in their order, one at a time; a line that is not whole is not there.

    Raises:
        InputError: it is no folder of scenes, or a line is wrong.
    """
    for number, line in enumerate(_lines(folder), 1):
        yield parse_scene(line, f"{SCENES_FILE}:{number}")


def parse_scene(line: bytes, name: str) -> SceneRecord:
    """A scene from its line; ``name`` is what messages call it.

    Raises:
        InputError: it is none.
    """
    try:
        return SceneRecord.model_validate_json(line)
    except ValidationError as error:
        told = explain(error)
        raise InputError(f"{name}: {told.field}", told.rule, told.got) from None


def read_classes_file(folder: Path) -> tuple[str, ...]:
    """The classes of a folder of scenes, in the order of their ids.

    Raises:
        InputError: there is none, or it holds something else.
    """
    file = folder / CLASSES_FILE
    try:
        names = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("scenes", f"a folder with a {CLASSES_FILE} that can be read ({error})", str(folder)) from None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(str(file), "a JSON list of names", names)
    return tuple(names)


def _lines(folder: Path) -> Iterator[bytes]:
    try:
        with (folder / SCENES_FILE).open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    yield line
    except OSError as error:
        fix = "`defectory detect compose` makes one."
        raise InputError("scenes", f"a folder with {SCENES_FILE} ({error.strerror})", str(folder), fix) from None


class SceneFolder:
    """A folder that scenes are added to, by one process at a time; `read_scenes` reads it meanwhile."""

    def __init__(self, path: Path, classes: Sequence[str], split: Split) -> None:
        """Open a folder: a new or empty one, or one of scenes of the same split.

        Classes keep the ids that they have there.

        Raises:
            InputError: it is another's, of another split or other classes, in use, or cannot be written.
        """
        self.path, self.done = path, dict[str, int]()
        self._lock = -1
        with explained(path):
            check_claim(path, COMMAND)
            mark(path, COMMAND)
            self._lock = _locked(path)
        try:
            with explained(path):
                self._open(classes, split)
        except BaseException:
            self.close()
            raise

    def _open(self, classes: Sequence[str], split: Split) -> None:
        for name in ("images", "labels"):
            (self.path / name).mkdir(exist_ok=True)
            for unfinished in (self.path / name).glob(f"{UNFINISHED}*"):
                unfinished.unlink()
        scenes = self.path / SCENES_FILE
        if scenes.exists():
            _cut_unfinished(scenes)
            for record in read_scenes(self.path):
                if record.split != split:
                    fix = "Train and test stay in folders of their own."
                    raise InputError("out", f"a folder of scenes for {split}", f"one for {record.split}", fix)
                self.done[record.image_id] = layout_digest(record.layout)
        known = read_classes_file(self.path) if (self.path / CLASSES_FILE).exists() else ()
        if self.done and {*known} != {*classes}:
            # What is a class of one of them may stand unlabelled on the scenes of the other.
            rule, fix = (
                f"a folder of scenes of {', '.join(classes)}",
                "Use one of its own; `detect train` takes several.",
            )
            raise InputError("out", rule, f"one of {', '.join(known)}", fix)
        self.classes = known if {*known} == {*classes} else tuple(classes)
        if self.classes != known:
            write_whole(self.path / CLASSES_FILE, json.dumps(self.classes, ensure_ascii=False).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others write to it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def add(self, lines: Sequence[bytes]) -> None:
        """Append the lines of scenes whose files are written.

        Raises:
            UnwritableError: the disk is full, say.
        """
        with explained(self.path), (self.path / SCENES_FILE).open("ab") as stream:
            start = stream.tell()
            try:
                stream.write(b"".join(line + b"\n" for line in lines))
                stream.flush()
            except OSError:
                # Half a line would run into the next one.
                with contextlib.suppress(OSError):
                    os.truncate(self.path / SCENES_FILE, start)
                raise

    def report_failures(self, failures: Sequence[Mapping[str, str]]) -> None:
        """Write what could not be made this time; nothing where all was.

        Raises:
            UnwritableError: the disk is full, say.
        """
        file = self.path / FAILURES_FILE
        with explained(self.path):
            if failures:
                lines = (json.dumps(failure, ensure_ascii=False).encode() + b"\n" for failure in failures)
                write_whole(file, lines)
            else:
                file.unlink(missing_ok=True)


def _cut_unfinished(file: Path) -> None:
    """Remove what a writer left of its last line when it was killed."""
    with file.open("rb+") as stream:
        size = stream.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(end - 65536, 0)
            stream.seek(start)
            newline = stream.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            stream.truncate(end)


def _locked(folder: Path) -> int:
    """A descriptor that keeps other processes out; the system lets go of it when this one ends, however it does."""
    descriptor = os.open(folder / MARKER, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        fix = "Wait for it, or write to another folder."
        raise InputError("out", "a folder that no other process writes to", str(folder), fix) from None
    return descriptor


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Let what the disk refuses within be told as a fault of ``folder``.

    Raises:
        UnwritableError: the disk refused.
    """
    try:
        yield
    except OSError as error:
        fix = "What is done stays done: make room, then run the same command again."
        reason = error.strerror or str(error)
        raise UnwritableError("out", "a folder that can be written to", reason, str(folder), fix) from error
