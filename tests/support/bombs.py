"""Archives that unpack to far more than they should, or elsewhere; and how much memory refusing them takes.

    python -m tests.support.bombs 536870912

makes each for that limit and reads it in another process, which says what it came to and what memory that took.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from defectory.archives import Limits, zip_members
from defectory.errors import InputError
from defectory.inspection import bundle

MB = 1 << 20
TIMES = 8
"""A bomb unpacks to so many times the limit."""


def bombs(limit: int) -> Iterator[tuple[str, bytes]]:
    """Each bomb's name, whose first word says what it is given out for, and its content."""
    size = TIMES * limit
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        yield f"bundle with header {kind.decode()}", _tar_gz(_tar_header("a", kind, size), size)
    yield "bundle with a chain of headers", _tar_gz(_tar_header("a", tarfile.XHDTYPE, 512) * 4096)
    yield "bundle with content", _tar_gz(_tar_header("a", tarfile.REGTYPE, size), size)
    yield "bundle with content that nobody reads", _tar_gz(_tar_header("code/a", tarfile.REGTYPE, size), size)
    yield "bundle with declared content", _tar_gz(_tar_header("a", tarfile.REGTYPE, limit - 4096))
    yield "bundle with more behind its end", _tar_gz(bytes(1024), size)
    yield "bundle with a sparse file", _tar_gz(_sparse(size))
    yield "bundle with the map of a sparse file", _tar_gz(_sparse_map(limit // 2))
    yield "bundle with folders without end", _tar_gz(_tar_header("code/a", tarfile.DIRTYPE, 0) * (limit // 512))
    yield "bundle in a bundle", gzip.compress(_tar_gz(b"", MB))
    yield "zip with content", _deflated(size, size)
    yield "zip with content that it does not declare", _deflated(size, 10)
    yield "zip with content that is not there", _deflated(10, limit)
    yield "zip with zip64's largest file", _deflated(10, 1 << 63)
    yield "zip with entries without end", _many_entries(limit // 50)
    yield "zip with one file under many names", _overlapping(limit)
    yield "npz with a large shape", _npz(_npy_header((size,)))
    yield "npz with items of no size", _npz(_npy_header((1 << 40,), "|S0"))
    yield "npz with a long header", _npz(b"\x93NUMPY\2\0" + struct.pack("<I", limit // 4) + bytes(limit // 4))
    yield "npz with compressed content", _npz(_npy_header((limit,)) + bytes(limit), zipfile.ZIP_DEFLATED)
    yield "npz with objects", _npz(_npy_header((1,), "|O") + bytes(8))


def read_all(folder: Path, limit: int) -> dict[str, object]:
    """Read the bombs of a folder in this process: what each came to, and the peak of memory beyond what was before."""
    bundle.MAX_BYTES = limit
    bounds = Limits(limit, 1000)
    readers: dict[str, Callable[[Path], object]] = {
        "bundle": lambda path: bundle.unpack(path, ["a", "b"]),
        "zip": lambda path: [member.read() for member in zip_members(path.open("rb"), bounds)],
        "npz": lambda path: bundle.unpack_arrays(path.read_bytes()),
    }
    before = peak = _peak_memory()
    results: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        try:
            readers[path.name.partition(" ")[0]](path)
            results[path.name] = "taken"
        except InputError as error:
            results[path.name] = f"{error.rule}, {(_peak_memory() - peak) / MB:.1f} MB"
        peak = _peak_memory()
    return {"results": results, "peak": peak - before}


def read_elsewhere(folder: Path, limit: int) -> dict[str, Any]:
    """Make the bombs in ``folder``, and ``read_all`` of them in a process of its own."""
    for name, content in bombs(limit):
        (folder / name).write_bytes(content)
    command = [sys.executable, "-m", __name__ if __name__ != "__main__" else "tests.support.bombs"]
    done = subprocess.run([*command, str(folder), str(limit)], stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _peak_memory() -> int:
    """Bytes; of this program only, as ``ru_maxrss`` has also its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024


def _tar_gz(start: bytes, zeros: int = 0) -> bytes:
    """A tar that begins with ``start``; its many zeros are one compressed megabyte, again and again."""
    return gzip.compress(start, 1) + gzip.compress(bytes(MB), 9) * (zeros // MB)


def _tar_header(name: str, kind: bytes, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    return header.tobuf(tarfile.GNU_FORMAT)


def _sparse(size: int) -> bytes:
    """Old GNU format: nothing is there, and all of it is zeros."""
    header = bytearray(_tar_header("a", tarfile.GNUTYPE_SPARSE, 0))
    header[386:410] = b"%011o\0%011o\0" % (size, 0)
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def _sparse_map(size: int) -> bytes:
    """GNU format 1.0: the file begins with a list of its parts, which a parser keeps as numbers."""
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    records += b"20 GNU.sparse.name=a\n" + b"25 GNU.sparse.realsize=9\n"
    extended = _tar_header("x", tarfile.XHDTYPE, len(records)) + records.ljust(512, b"\0")
    numbers = str(size // 2).encode() + b"\n" + b"0\n" * (size // 2)
    return extended + _tar_header("a", tarfile.REGTYPE, len(numbers)) + numbers


def _deflated(size: int, declared: int) -> bytes:
    """A zip of one file, whose content is a compressed megabyte, again and again."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(MB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    data = block * max(1, size // MB) + compressor.flush()
    extra = struct.pack("<HHQ", 1, 8, declared) if declared > 0xFFFFFFFE else b""
    sizes = (0, len(data), 0xFFFFFFFF if extra else declared, 1, len(extra))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 8, 0, 0, *sizes) + b"a" + extra + data
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 8, 0, 0, *sizes, 0, 0, 0, 0, 0) + b"a" + extra
    return local + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)


def _many_entries(count: int) -> bytes:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    return entry * count + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry) * count, 0, 0)


def _overlapping(limit: int) -> bytes:
    """David Fifield's kind (https://www.bamsoftware.com/hacks/zipbomb): the same bytes under many names."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(limit // 100))
        (entry,) = archive.infolist()
        copies = []
        for number in range(50):
            copy = zipfile.ZipInfo(f"a{number}")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(copy, field, getattr(entry, field))
            copies.append(copy)
        archive.filelist[:] = copies
    return content.getvalue()


def _npy_header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"shape": shape, "fortran_order": False, "descr": dtype})
    return content.getvalue()


def _npz(array: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression, compresslevel=1) as archive:
        archive.writestr("a.npy", array)
    return content.getvalue()


def main(arguments: list[str]) -> None:
    """With a limit: make and read them.  With a folder and a limit: read those that are there."""
    if len(arguments) == 2:
        print(json.dumps(read_all(Path(arguments[0]), int(arguments[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(read_elsewhere(Path(folder), int(arguments[0])), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
