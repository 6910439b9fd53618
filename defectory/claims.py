"""Folders that a command may empty: only those that it made itself, which a marker in them says.

Whatever else lies where a command is to write is its user's: it is named, and refused before any work begins.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from defectory.errors import InputError
from defectory.writing import writing_to

MARKER = ".defectory-made"


def is_claimed(folder: Path, command: str) -> bool:
    """Whether ``folder`` was made by ``command``."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8").splitlines()[:1] == [command]
    except (OSError, UnicodeDecodeError):
        return False


def check_claim(folder: Path, command: str, *, field: str = "out") -> None:
    """Refuse a folder that is neither new, nor empty, nor made by ``command``.

    Raises:
        InputError: it is another's; the message names what lies in it.
    """
    try:
        if not folder.exists() or is_claimed(folder, command):
            return
        if not folder.is_dir():
            raise InputError(field, "a folder", str(folder))
        if names := sorted(path.name for path in folder.iterdir()):
            raise foreign(folder, command, names, field=field)
    except OSError as error:
        raise InputError(field, f"a folder that can be read ({error.strerror})", str(folder)) from None


def foreign(folder: Path, command: str, names: Iterable[str], *, field: str = "out") -> InputError:
    """The refusal of a folder that holds what ``command`` did not write."""
    first, *others = names
    more = f" and {len(others)} more" if others else ""
    return InputError(
        field,
        f"a new or empty folder, or one that `{command}` made",
        str(folder),
        f"It holds {first}{more}, which this command did not write and does not touch. Choose another folder.",
    )


def claim(folder: Path, command: str, *, field: str = "out") -> Path:
    """Make ``folder``, or take it if it is empty or was made by ``command`` before, and mark it.

    Raises:
        InputError: it is another's, or cannot be written.
    """
    check_claim(folder, command, field=field)
    mark(folder, command, field=field)
    return folder


def mark(folder: Path, command: str, *, field: str = "out") -> None:
    """Mark ``folder``, which is made if need be, as one of ``command``.

    Raises:
        UnwritableError: it cannot be written.
    """
    note = "`defectory` made this folder, and replaces what is in it when that command runs again.\n"
    with writing_to(folder, field=field):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(f"{command}\n{note}", encoding="utf-8")


def claim_empty(folder: Path, command: str, *, field: str = "out") -> Path:
    """As `claim`, and remove what ``command`` left in it before.

    Raises:
        InputError: it is another's, or cannot be written.
    """
    claim(folder, command, field=field)
    with writing_to(folder, field=field):
        for path in folder.iterdir():
            if path.name == MARKER:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return folder
