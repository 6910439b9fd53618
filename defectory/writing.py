"""Writing to disks: tried before any work, whole or not at all, and what stops it told in one line."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from defectory.errors import UnwritableError

# A disk that is full, over its quota, read-only, gone or broken; a folder of somebody else's.
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENXIO}
)
# As other languages' libraries say it, who hand on no number.
DISK_WORDS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), os.strerror(errno.EROFS))
UNFINISHED = ".unfinished-"
"""What the names of files and folders begin with that are still being written."""
_PROBE = bytes(64 * 1024)


def disk_problem(error: BaseException) -> str:
    """What an error says of the disk, such as "No space left on device"; empty if it is about something else."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return error.strerror or str(error)
    return next((words for words in DISK_WORDS if words in str(error)), "")


def try_folder(folder: Path, *, field: str = "out") -> Path:
    """Make sure that files can be written to ``folder``, or to where it will be made; nothing is left behind.

    Raises:
        UnwritableError: they cannot be.
    """
    try:
        place = next(part for part in (folder, *folder.absolute().parents) if os.path.lexists(part))
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        for part in folder.absolute().relative_to(place.absolute()).parts:
            if len(os.fsencode(part)) > os.pathconf(place, "PC_NAME_MAX"):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), part)
        # Without a name where the system can, so that nobody else takes it for a part of the folder.
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(_PROBE)
            probe.flush()
    except (OSError, ValueError) as error:
        raise unwritable(error, folder, field=field) from None
    return folder


def try_file(file: Path, *, field: str = "out") -> Path:
    """Make sure that ``file`` can be written.

    Raises:
        UnwritableError: it cannot be.
    """
    if file.is_dir():
        raise UnwritableError(field, "a file", "it is a folder", str(file))
    try:
        try_folder(file.parent, field=field)
    except UnwritableError as error:
        raise UnwritableError(field, "a file that can be written", error.reason, str(file)) from None
    return file


def unwritable(error: Exception, folder: Path, *, field: str = "out") -> UnwritableError:
    """What to tell of an error of writing below ``folder``."""
    reason = getattr(error, "strerror", None) or str(error)
    return UnwritableError(field, "a folder that can be written to", reason, str(folder))


@contextlib.contextmanager
def writing_to(folder: Path, *, field: str = "out") -> Iterator[None]:
    """Let what the disk refuses within be told as a fault of ``folder``.

    Raises:
        UnwritableError: the disk refused.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(error, folder, field=field) from error


def write_whole(file: Path, content: bytes | Iterable[bytes]) -> Path:
    """Write ``file``, and its folder if need be: all of it, or nothing however it is interrupted.

    ``content`` may come piece by piece.

    Raises:
        OSError: it cannot be written; what was there before is there still.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    try:
        # Not a temporary file, which would be for its user alone.
        with unfinished.open("wb") as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
        return unfinished.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
