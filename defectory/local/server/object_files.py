"""The two files of an object in S3, which change together, whenever the process is killed.

Both are written beside their places first, the content before its description (``NAME.meta.json``), then put there in
the same order. So a description that waits without its content tells of an object whose content is in its place, and is
put there as well; anything else that waits is removed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

META = ".meta.json"
WAITING = ".tmp"


def write(target: Path, content: bytes | Path | None, description: str) -> None:
    """Make ``content`` the object in ``target``, described by a JSON text.

    Args:
        content: bytes, or a file on the same file system that is moved; None leaves the present content.
    """
    waiting, meta = _beside(target, WAITING), _beside(target, META)
    # It may be another name of a file that is in use, and shall not be written into.
    waiting.unlink(missing_ok=True)
    if isinstance(content, Path):
        content.replace(waiting)
    elif content is not None:
        _write(waiting, content)
    _write(_beside(meta, WAITING), description.encode())
    if content is not None:
        waiting.replace(target)
        # Two names of one file stay two.
        waiting.unlink(missing_ok=True)
    _beside(meta, WAITING).replace(meta)


def settle(folder: Path) -> None:
    """Bring every object in ``folder`` and below to what it was before or after the write that was cut short."""
    for waiting in sorted(folder.rglob(f"*{META}{WAITING}")):
        target = waiting.with_name(waiting.name.removesuffix(META + WAITING))
        if not _beside(target, WAITING).exists() and _is_json(waiting):
            waiting.replace(_beside(target, META))
    for waiting in folder.rglob(f"*{WAITING}"):
        if waiting.is_file():
            waiting.unlink()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True
