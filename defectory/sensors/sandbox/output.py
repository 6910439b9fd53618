"""Take from a run's folder what it may hand over: regular files with plain names, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from defectory.sensors.sandbox.limits import Limits
from defectory.unwinding import temporary_folder

MB = 1 << 20
_WORLD_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(slots=True)
class Inventory:
    """Names of a folder's acceptable files, what is wrong with the others, and folders, which are left behind."""

    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def breach_of_quota(folder: Path, limits: Limits) -> str:
    """Say which quota the files of ``folder`` break; empty when none."""
    files = used = 0
    # A run may not make folders unless it is trusted; theirs are counted, what is in them is bounded by RLIMIT_FSIZE.
    for entry in os.scandir(folder):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        files += 1
        used += max(status.st_size, status.st_blocks * 512)
        if files > limits.files:
            return f"made more than {limits.files} files"
    return f"used more than {limits.disk_mb} MB of disk" if used > limits.disk_mb * MB else ""


def breach_of_folder(uid: int | None) -> str:
    """Say what user ``uid`` has written where everybody may write; empty when nothing, or without a user."""
    for path in _strays(uid):
        return f"wrote outside its folder: {str(path)!a}"
    return ""


def remove_strays(uid: int | None) -> None:
    """Remove what user ``uid`` has left where everybody may write."""
    for path in _strays(uid):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _strays(uid: int | None) -> list[Path]:
    if uid is None:
        return []
    strays = []
    for folder in (*_WORLD_WRITABLE, tempfile.gettempdir()):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_uid == uid:
                        strays.append(Path(entry.path))
    return list(dict.fromkeys(strays))


def take_inventory(folder: Path, limits: Limits) -> Inventory:
    """Look at every entry of ``folder`` without following links."""
    inventory = Inventory()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        status = entry.stat(follow_symlinks=False)
        shown = ascii(entry.name)
        if stat.S_ISDIR(status.st_mode):
            inventory.folders.append(shown)
        elif not stat.S_ISREG(status.st_mode):
            inventory.problems.append(f"{shown} is not a regular file")
        elif status.st_nlink != 1:
            inventory.problems.append(f"{shown} is a hard link")
        elif not _NAME.fullmatch(entry.name):
            inventory.problems.append(f"{shown} is not a plain file name (letters, digits, '.', '_', '-')")
        elif status.st_size >= limits.file_mb * MB:
            inventory.problems.append(f"{shown} has reached the limit of {limits.file_mb} MB a file")
        else:
            inventory.names.append(entry.name)
    return inventory


def hand_over(folder: Path, names: list[str], target: Path) -> tuple[Path, ...]:
    """Move regular files ``names`` from ``folder`` to ``target``, owned by this process's user, and name them there.

    A file of the same name in ``target`` is replaced.

    Raises:
        OSError: a file is no longer what ``take_inventory`` saw, or ``target`` cannot be written.
    """
    source = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return tuple(_hand_over(source, name, target) for name in names)
    finally:
        os.close(source)


def _hand_over(source: int, name: str, target: Path) -> Path:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(name, "rb", opener=lambda path, _: os.open(path, flags, dir_fd=source)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise OSError(errno.EINVAL, "not a regular file of its own", name)
        os.fchown(file.fileno(), os.geteuid(), os.getegid())
        os.fchmod(file.fileno(), 0o644)
        try:
            os.rename(name, target / name, src_dir_fd=source)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with temporary_folder(f".{name}-", target) as unfinished:
                with (unfinished / name).open("xb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                    os.fchmod(copy.fileno(), 0o644)
                (unfinished / name).replace(target / name)
    return target / name
