"""Archives from outside, read without trusting them: ``tar.gz`` and ``zip``, bounded in size, number and names.

Everything that a parser would take at an archive's word is bounded beneath it: a header, a zip's directory and the
unpacked stream never grow beyond `Limits`, whatever they say of themselves.  Files come one after the other, in pieces;
links, devices, sparse files and names that lead elsewhere are refused.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from defectory.errors import InputError, shorten

PIECE = 1024 * 1024
HEADER_BYTES = 64 * 1024
"""A header of a tar has at most so many bytes, long names and extended attributes included."""

LONGEST_NAME, LONGEST_PART = 1024, 255
# A zip's directory has 46 bytes for each entry, its name, and seldom more than a few times.
_DIRECTORY_BYTES = 512
_ENTRY, _LOCAL_HEADER = b"PK\x01\x02", 30
_ENCRYPTED = 0x1
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:")

# What parsers raise when they meet hostile or broken bytes.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    MemoryError,
)


class ArchiveError(InputError):
    """An archive cannot be read, is larger than allowed, or holds what is refused."""

    code = "BadArchive"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an archive: ``total`` bytes unpacked, a tar's headers included, and ``members`` files and folders."""

    total: int
    members: int = 10_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder in an archive, read before the next one is asked for, or not at all.

    ``name`` is relative, with ``/`` between its parts; ``size`` counts bytes; ``mode`` has the permissions, 0 if the
    archive tells none.
    """

    name: str
    size: int
    mode: int
    is_folder: bool
    _open: Callable[[], Callable[[int], bytes]] = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces of at most `PIECE` bytes.

        Raises:
            ArchiveError: it is damaged, or not as long as declared.
        """
        with _reading():
            read = self._open()
        remaining = self.size
        while remaining:
            with _reading():
                piece = read(min(PIECE, remaining))
            if not piece:
                raise ArchiveError(
                    "archive", "an archive that is complete", fix=f"It ends within {shorten(self.name)}."
                )
            remaining -= len(piece)
            yield piece

    def read(self) -> bytes:
        """The content as a whole; memory as ``pieces``, and the content."""
        content = io.BytesIO()
        for piece in self.pieces():
            content.write(piece)
        return content.getvalue()


def tar_members(file: BinaryIO, limits: Limits) -> Iterator[Member]:
    """What is in a ``tar.gz``, in its order; the archive is read once, forward, to its end.

    Raises:
        ArchiveError: it breaks a rule of this module; files before that have come already.
    """
    stream = _TarStream(file, limits)
    names = _Names(limits)
    with _reading():
        archive = tarfile.TarFile(fileobj=cast("BinaryIO", stream), mode="r")
        member = archive.next()
    while member is not None:
        yield _tar_member(member, names, stream)
        with _reading():
            # Those that were read already would be kept to the end.
            archive.members.clear()  # type: ignore[attr-defined]
            stream.header_budget = HEADER_BYTES
            member = archive.next()
    with _reading():
        stream.finish()


def zip_members(file: BinaryIO, limits: Limits) -> Iterator[Member]:
    """What is in a ``zip``, in the order of its directory, stored or deflated; ``file`` can be sought in.

    Raises:
        ArchiveError: it breaks a rule of this module.
    """
    source = _ZipSource(file, limits)
    names = _Names(limits)
    with _reading():
        archive = zipfile.ZipFile(cast("BinaryIO", source))
    with archive:
        source.is_directory = False
        entries = archive.infolist()
        members = [_zip_member(entry, names, archive) for entry in entries]
        if sum(member.size for member in members) > limits.total:
            raise _too_large(limits)
        # Entries that share their bytes unpack to many times what is there.
        offsets = sorted((entry.header_offset, entry.header_offset + _length(entry)) for entry in entries)
        offsets.append((archive.start_dir, archive.start_dir))
        if any(end > start for (_, end), (start, _) in pairwise(offsets)):
            raise ArchiveError("archive", "an archive of files that do not overlap")
        yield from members


def extract(members: Iterable[Member], folder: Path) -> None:
    """Write files and folders to ``folder``, which is made where it is missing, with their permissions.

    Raises:
        ArchiveError: a member breaks a rule, or is there already.
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for member in members:
        target = folder / member.name
        try:
            (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
            if member.is_folder:
                continue
            unpacked = target.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise ArchiveError("archive", "an archive of files with a place each", member.name) from None
        with unpacked:
            for piece in member.pieces():
                unpacked.write(piece)
            if member.mode:
                os.fchmod(unpacked.fileno(), (member.mode & 0o755) | 0o600)


def read_member(members: Iterable[Member], name: str, limit: int) -> bytes | None:
    """The content of the file ``name``, of at most ``limit`` bytes; None if it is not there.

    Raises:
        ArchiveError: it is larger, or the archive breaks a rule before it.
    """
    for member in members:
        if member.name == name and not member.is_folder:
            if member.size > limit:
                raise ArchiveError(name, f"at most {limit} bytes", member.size)
            return member.read()
    return None


def open_own(path: Path) -> BinaryIO:
    """Open a regular file to be read, to which no link leads from or to elsewhere.

    Raises:
        ArchiveError: it is something else.
        OSError: it cannot be opened.
    """
    refusal = ArchiveError("file", "a file of its own, not a link", path.name, "Copy the file in place of the link.")
    if path.is_symlink():
        raise refusal
    # O_NONBLOCK: opening a pipe must not wait for who writes into it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = open(path, "rb", opener=lambda name, _: os.open(name, flags))  # noqa: SIM115 - handed over
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        file.close()
        raise refusal
    return file


def read_bounded(file: BinaryIO, limit: int) -> bytes:
    """The rest of a file, of at most ``limit`` bytes; raises ``ArchiveError`` if it has more."""
    content = io.BytesIO()
    while piece := file.read(PIECE):
        if content.tell() + len(piece) > limit:
            raise ArchiveError("file", f"at most {limit} bytes")
        content.write(piece)
    return content.getvalue()


class _Names:
    """The names of an archive's members so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._files: set[str] = set()

    def check(self, name: str, *, is_folder: bool) -> str:
        """The name as a relative path.

        Raises:
            ArchiveError: it leads elsewhere, cannot be shown, is too long, or was there already; or there are too many.
        """
        self._count += 1
        if self._count > self._limits.members:
            raise _too_many(self._limits)
        path = PurePosixPath(name)
        if _UNSAFE.search(name) or path.is_absolute() or ".." in path.parts or not (path.parts or is_folder):
            raise ArchiveError("archive", "an archive of names that stay within it", name)
        if len(os.fsencode(name)) > LONGEST_NAME or any(len(os.fsencode(part)) > LONGEST_PART for part in path.parts):
            raise ArchiveError("archive", f"an archive of names of at most {LONGEST_NAME} bytes", name)
        if not is_folder:
            if str(path) in self._files:
                raise ArchiveError("archive", "an archive of names that differ", name)
            self._files.add(str(path))
        return str(path)


class _TarStream:
    """The unpacked stream beneath the parser of a tar: only forward, within the limits, its headers short."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._stream = gzip.GzipFile(fileobj=file, mode="rb")
        self._limits = limits
        self._position = 0
        self._last = b""
        self.header_budget = HEADER_BYTES

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int) -> None:
        if offset < self._position:
            raise ArchiveError("archive", "an archive of files one after the other")
        while self._position < offset:
            if not self.content(min(PIECE, offset - self._position)):
                raise ArchiveError("archive", "an archive that is complete")

    def read(self, size: int) -> bytes:
        """What the parser asks for: a header, or a part of one."""
        self.header_budget -= size
        if self.header_budget < 0:
            raise ArchiveError("archive", f"an archive of headers of at most {HEADER_BYTES} bytes")
        self._last = self.content(size)
        return self._last

    def content(self, size: int) -> bytes:
        if self._position + size > self._limits.total:
            # The end may be nearer than what was asked for.
            size = self._limits.total - self._position + 1
        content = self._stream.read(size)
        self._position += len(content)
        if self._position > self._limits.total:
            raise _too_large(self._limits)
        return content

    def finish(self) -> None:
        """Read to the end, where the checksum is; the parser also stops at what is no header."""
        rest = self._last
        if not rest:
            raise ArchiveError("archive", "an archive that is complete")
        while rest:
            if rest.strip(b"\0"):
                raise ArchiveError("archive", "an archive of files and an end, nothing else")
            rest = self.content(PIECE)


class _ZipSource:
    """The file beneath the parser of a zip, whose directory is looked at before the parser makes entries of it."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self.is_directory = True
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not self.is_directory:
            return self._file.read(size)
        # The end of the directory may be followed by a comment of 64 KB.
        most = max(self._limits.members * _DIRECTORY_BYTES, 2 * HEADER_BYTES)
        content = self._file.read(most if size < 0 else min(size, most + 1))
        if len(content) > most or content.count(_ENTRY) > self._limits.members:
            raise _too_many(self._limits)
        return content


def _tar_member(member: tarfile.TarInfo, names: _Names, stream: _TarStream) -> Member:
    name = names.check(member.name, is_folder=member.isdir())
    if not (member.isdir() or member.isreg()) or member.issparse() or member.size < 0:
        raise ArchiveError("archive", "an archive of plain files and folders, without links", member.name)

    def start() -> Callable[[int], bytes]:
        stream.seek(member.offset_data)
        return stream.content

    return Member(name, 0 if member.isdir() else member.size, member.mode & 0o777, member.isdir(), start)


def _zip_member(entry: zipfile.ZipInfo, names: _Names, archive: zipfile.ZipFile) -> Member:
    # What stands behind a NUL is lost in ``filename``.
    name = names.check(entry.orig_filename, is_folder=entry.is_dir())
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG) or (entry.is_dir() and entry.file_size):
        raise ArchiveError("archive", "an archive of plain files and folders, without links", name)
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError("archive", "a zip of stored or deflated files, without encryption", name)
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise ArchiveError("archive", "a zip whose files have their declared size", name)
    return Member(name, entry.file_size, mode & 0o777, entry.is_dir(), lambda: archive.open(entry).read)


def _length(entry: zipfile.ZipInfo) -> int:
    return _LOCAL_HEADER + len(entry.orig_filename) + entry.compress_size


def _too_large(limits: Limits) -> ArchiveError:
    return ArchiveError("archive", f"an archive of at most {limits.total} bytes unpacked")


def _too_many(limits: Limits) -> ArchiveError:
    return ArchiveError("archive", f"an archive of at most {limits.members} files and folders")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What a parser raises, as our own error."""
    try:
        yield
    except ArchiveError:
        raise
    except _BROKEN as error:
        raise ArchiveError(
            "archive", f"an archive that can be read ({shorten(str(error) or type(error).__name__)})"
        ) from None
