"""Weights of models that others trained: packed once on the user's side, and looked at before they are loaded.

```
model.tar.gz
  weights.json        repository, revision and licence, and the SHA-256 of each other file
  model_index.json    and the rest of what diffusers saves: JSON, vocabularies, safetensors; no pickle
```
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

CARD_FILE = "weights.json"
SUFFIXES = frozenset({".json", ".safetensors", ".txt"})
"""What there may be: nothing that is executed when it is read."""

# SageMaker's own, where an archive brings a program along.
_CODE = "code"
_FIX = "Pack it again with models/gligen/fetch_weights.py."

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class WeightsCard(FrozenModel):
    """Where weights come from, under which licence, and what they are.

    Args:
        format: of this record.
        repository, revision: of the hub they were fetched from; the revision is a commit.
        licence: its name at the hub, such as ``creativeml-openrail-m``.
        files: SHA-256 of each file by its path.
    """

    format: Literal["defectory-weights/1"] = "defectory-weights/1"
    repository: str
    revision: str
    licence: str
    files: dict[str, Sha256]


def pack_weights(folder: Path, out: Path, *, repository: str, revision: str, licence: str) -> WeightsCard:
    """Pack a folder that diffusers saved, with its card; the same files give the same archive.

    Raises:
        InputError: there is a file that is executed when it is read, or the archive cannot be written.
    """
    files = {name: folder / name for name in _names(folder) if name != CARD_FILE}
    card = WeightsCard(
        repository=repository,
        revision=revision,
        licence=licence,
        files={name: _digest(file) for name, file in files.items()},
    )
    write_whole(folder / CARD_FILE, card.model_dump_json(indent=1).encode())
    unfinished = out.with_name(f".{out.name}.part")
    with writing_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                unfinished.open("wb") as stream,
                # Weights are noise: packing them harder takes minutes and saves nothing.
                gzip.GzipFile("", "wb", 1, stream, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w|") as archive,
            ):
                for name in sorted([*files, CARD_FILE]):
                    archive.add(folder / name, name, filter=_anonymous)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    return card


def check_weights(folder: Path) -> WeightsCard:
    """Look whether an unpacked folder is what was packed.

    Raises:
        InputError: it has no card, a file is missing, is another than was packed, or was not packed at all.
    """
    try:
        card = WeightsCard.model_validate_json((folder / CARD_FILE).read_bytes())
    except OSError as error:
        raise InputError("model", f"a folder with {CARD_FILE} ({error.strerror})", str(folder), _FIX) from None
    except ValidationError as error:
        raise InputError("model", f"a folder with a valid {CARD_FILE} ({shorten(str(error))})", fix=_FIX) from None
    names = set(_names(folder)) - {CARD_FILE}
    if names != set(card.files):
        odd = sorted(names ^ set(card.files))[0]
        raise InputError("model", f"the files that {CARD_FILE} lists, no more and no fewer", odd, _FIX)
    for name, digest in card.files.items():
        if _digest(folder / name) != digest:
            raise InputError("model", f"unaltered: {name} is not as {CARD_FILE} says", fix="Fetch it again.")
    return card


def _names(folder: Path) -> list[str]:
    """The files of a folder by their paths, what SageMaker puts beside them left out."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    names = [name for name in names if PurePosixPath(name).parts[0] != _CODE]
    if odd := [name for name in names if PurePosixPath(name).suffix not in SUFFIXES]:
        raise InputError("model", f"files of {', '.join(sorted(SUFFIXES))} alone", odd[0], _FIX)
    return names


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
