"""The file a model is kept in: ``model.tar.gz``, read without trusting it and written the same for the same content."""

from __future__ import annotations

import gzip
import io
import itertools
import math
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from defectory import archives
from defectory.archives import ArchiveError, Limits, Member, tar_members, zip_members
from defectory.errors import InputError

BUNDLE_NAME = "model.tar.gz"
MAX_BYTES = 512 * 1024 * 1024
# The libraries beside the code that serves a model are thousands of files.
MAX_FILES = 50_000
MAX_ARRAYS = 1000
_NPY_HEADER_BYTES = 16 * 1024
_NUMERIC = frozenset("biufc")
_FIX = "Use a bundle written by `defectory inspect train`, or of a detector by `defectory detect train`."


class BundleError(InputError):
    """A file is no model bundle, or was altered."""

    code = "BadModel"


def pack(files: Mapping[str, bytes]) -> bytes:
    """A ``tar.gz`` of ``files``; equal files give equal bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(archive.getvalue(), mtime=0)


def unpack(source: Path | bytes, names: Iterable[str]) -> dict[str, bytes]:
    """The files of a bundle that are called one of ``names``, by name; nothing is written to disk.

    Args:
        source: a bundle, its content, or the folder it was unpacked to (or that holds ``model.tar.gz``).
        names: what the bundle may hold; a folder, and ``code/`` in an archive, may hold other things too.

    Raises:
        BundleError: it cannot be read, is no such archive, is too large, or holds anything else: links, devices, names
            that lead elsewhere, the same name twice.
    """
    expected = frozenset(names)
    try:
        if isinstance(source, bytes):
            return _read_archive(io.BytesIO(source), expected)
        if source.is_dir():
            if any(os.path.lexists(source / name) for name in expected):
                return _read_folder(source, expected)
            with archives.open_own(source / BUNDLE_NAME) as file:
                return _read_archive(file, expected)
        with source.open("rb") as file:
            return _read_archive(file, expected)
    except FileNotFoundError:
        raise BundleError("model", "an existing model bundle", str(source), _FIX) from None
    except ArchiveError as error:
        raise BundleError("model", error.rule, error.got, error.fix or _FIX) from None
    except OSError as error:
        raise BundleError("model", f"a model bundle that can be read ({error})", fix=_FIX) from None


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays as ``.npz``, uncompressed: the archive around it compresses."""
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # type: ignore[arg-type]
    return content.getvalue()


def unpack_arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    """Read what ``pack_arrays`` wrote; objects are never unpickled, and nothing unpacks to more than it takes.

    Raises:
        BundleError: it is something else.
    """
    try:
        # Stored, not compressed, so that all arrays together are no larger than their file.
        return read_arrays(io.BytesIO(content), Limits(len(content), MAX_ARRAYS))
    except ArchiveError as error:
        raise BundleError("model", f"a bundle with {error.rule}", error.got, _FIX) from None


def read_arrays(file: BinaryIO, limits: Limits) -> dict[str, NDArray[np.generic]]:
    """The arrays of an ``.npz`` by name: numbers and booleans, in the shape they declare.

    Raises:
        ArchiveError: it is something else, or breaks the limits.
    """
    return {member.name.removesuffix(".npy"): _read_array(member) for member in zip_members(file, limits)}


def _read_array(member: Member) -> NDArray[np.generic]:
    """Filled in place, once the size that the header declares is known to be there."""
    refusal = ArchiveError("arrays", "an .npz of numeric arrays", member.name)
    pieces = member.pieces()
    first = next(pieces, b"")
    header = io.BytesIO(first[:_NPY_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(header)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, is_column_major, dtype = read_header[version](header)
    except Exception:  # numpy meets hostile headers with many kinds
        raise refusal from None
    values = member.size - header.tell()
    if dtype.kind not in _NUMERIC or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != values:
        raise refusal
    array = np.empty(math.prod(shape), dtype)
    target, position = array.view(np.uint8).data, 0
    for piece in itertools.chain([first[header.tell() :]], pieces):
        target[position : position + len(piece)] = piece
        position += len(piece)
    return array.reshape(shape[::-1]).T if is_column_major else array.reshape(shape)


def _read_archive(file: BinaryIO, expected: frozenset[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for member in tar_members(file, Limits(MAX_BYTES, MAX_FILES)):
        # SageMaker repacks a bundle with the serving code in it, which is not ours to read.
        if member.is_folder or PurePosixPath(member.name).parts[0] == "code":
            continue
        if member.name not in expected:
            raise ArchiveError("model", "a bundle of a model's own files only", member.name)
        files[member.name] = member.read()
    return files


def _read_folder(folder: Path, expected: frozenset[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in sorted(name for name in expected if os.path.lexists(folder / name)):
        with archives.open_own(folder / name) as file:
            files[name] = archives.read_bounded(file, MAX_BYTES - sum(map(len, files.values())))
    return files
