"""References: find on this machine the files that a manifest names where they once were, in S3 or elsewhere."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path, PurePosixPath

from defectory.errors import InputError


class FileFinder:
    """Finds files below a folder by the end of their reference.

    ``s3://bucket/a/b/c.png`` is, in this order: ``<root>/a/b/c.png``, ``<root>/b/c.png``, the same below each of
    ``more`` roots, and at last the one file ``c.png`` anywhere below ``root``; of several, the one whose folders agree
    best with the reference.
    """

    def __init__(self, root: Path, *more: Path) -> None:
        self.root = root
        self._roots = (root, *more)

    def find(self, reference: str) -> Path | None:
        """The file that ``reference`` names, or None where there is none.

        Raises:
            InputError: several files fit equally well.
        """
        parts = _parts(reference)
        if not parts:
            return None
        local = Path(reference)
        if local.is_absolute() and _is_file(local):
            return local
        for root in self._roots:
            for start in range(max(1, len(parts) - 1)):
                candidate = root.joinpath(*parts[start:])
                if _is_file(candidate):
                    return candidate
        return self._best(reference, parts)

    def beside(self, reference: str) -> Path | None:
        """The file at exactly this relative path below the root, or None."""
        parts = _parts(reference)
        candidate = self.root.joinpath(*parts)
        return candidate if parts and not Path(reference).is_absolute() and _is_file(candidate) else None

    def locate(self, reference: str) -> Path:
        """The file that ``reference`` names; where there is none, the place below the root where it should be."""
        return self.find(reference) or self.root.joinpath(*(part for part in _split(reference) if part != ".."))

    def _best(self, reference: str, parts: tuple[str, ...]) -> Path | None:
        candidates = self._by_name.get(parts[-1], [])
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        ranked = sorted(candidates, key=lambda path: _agreement(path.parts, parts), reverse=True)
        if _agreement(ranked[0].parts, parts) == _agreement(ranked[1].parts, parts):
            got = f"{reference}, which may be {ranked[0]} or {ranked[1]}"
            raise InputError("image", "one file only", got, "Name the folder that holds the right one.")
        return ranked[0]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = {}
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                names.setdefault(name, []).append(Path(folder, name))
        return names


def _parts(reference: str) -> tuple[str, ...]:
    """The folders and the name of a reference; nothing for one that climbs out of where it is looked for."""
    parts = _split(reference)
    return () if ".." in parts or "\0" in reference else parts


def _split(reference: str) -> tuple[str, ...]:
    path = reference.partition("://")[2].partition("/")[2] if "://" in reference else reference
    return tuple(part for part in PurePosixPath(path).parts if part not in ("/", "//", "."))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _agreement(path: tuple[str, ...], parts: tuple[str, ...]) -> int:
    """How many parts, from the end, are the same."""
    agreeing = 0
    for ours, theirs in zip(reversed(path), reversed(parts), strict=False):
        if ours != theirs:
            break
        agreeing += 1
    return agreeing
