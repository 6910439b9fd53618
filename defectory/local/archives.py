"""Zip archives as AWS's services write them: without compression here, with permissions, of any size."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from defectory.archives import Limits
from defectory.unwinding import held

SOURCE = Limits(8 * 1024**3, 200_000)
"""Of a build's source, which goes to the disk; its artifacts are the next one's source."""

PIECE = 1024 * 1024
# Zip knows no earlier time; the same files make the same archive.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write(target: Path, files: Iterable[tuple[Path, str]]) -> None:
    """Write an archive of files, each with its name in the archive; memory does not grow with their size.

    Stored, not deflated: it never leaves the machine.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path, name in files:
            status = path.stat()
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (status.st_mode & 0xFFFF) << 16
            entry.file_size = status.st_size
            # An archive that is left in the middle of an entry cannot be closed.
            with held(), path.open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, PIECE)
