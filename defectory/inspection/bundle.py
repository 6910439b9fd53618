"""The file a model is kept in: ``model.tar.gz``, read without trusting it and written the same for the same content."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from defectory.errors import InputError

BUNDLE_NAME = "model.tar.gz"
MAX_BYTES = 512 * 1024 * 1024
_FIX = "Use a bundle written by `defectory inspect train`."


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
        if source.is_dir() and not any((source / name).is_file() for name in expected):
            source /= BUNDLE_NAME
        if source.is_dir():
            return {name: (source / name).read_bytes() for name in sorted(expected) if (source / name).is_file()}
        with source.open("rb") as file:
            return _read_archive(file, expected)
    except FileNotFoundError:
        raise BundleError("model", "an existing model bundle", str(source), _FIX) from None
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise BundleError("model", f"a model bundle that can be read ({error})", fix=_FIX) from None


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays as ``.npz``, uncompressed: the archive around it compresses."""
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # type: ignore[arg-type]
    return content.getvalue()


def unpack_arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    """Read what ``pack_arrays`` wrote; objects are never unpickled.

    Raises:
        BundleError: it is something else.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if sum(info.file_size for info in arrays.zip.infolist()) > MAX_BYTES:
                raise ValueError("too large")
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile and numpy meet hostile bytes with many kinds
        raise BundleError("model", f"a bundle of numeric arrays ({error})", fix=_FIX) from None


def _read_archive(file: io.BufferedIOBase, expected: frozenset[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    with tarfile.open(fileobj=file, mode="r|gz") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            # SageMaker repacks a bundle with the serving code in it, which is not ours to read.
            if member.isdir() or path.parts[:1] == ("code",):
                total += member.size
                if total > MAX_BYTES:
                    raise BundleError("model", f"at most {MAX_BYTES} bytes unpacked", fix=_FIX)
                continue
            if not member.isreg() or str(path) not in expected or str(path) in files:
                raise BundleError("model", "a bundle of a model's own files only", member.name, _FIX)
            total += member.size
            if total > MAX_BYTES:
                raise BundleError("model", f"at most {MAX_BYTES} bytes unpacked", fix=_FIX)
            content = tar.extractfile(member)
            assert content is not None  # a regular file always has content
            files[str(path)] = content.read()
    return files
