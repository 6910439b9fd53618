"""The source archive of a model's containers, built with uv and without Docker.

It holds the entry points of ``models/<name>``, what they import of ``defectory``, inspection's backbone and, for AWS,
the libraries: a container that starts from it downloads nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from defectory.inspection.hosting import BACKBONE
from stacks.import_closure import LIBRARY, import_closure
from stacks.packaging import CACHE, ROOT, Requirements

ENTRY_POINTS = ("train.py", "evaluate.py", "inference.py")
# What the PyTorch containers have; libraries are built for it.
CONTAINER_PYTHON = "3.12"
CONTAINER_PLATFORM = "x86_64-manylinux_2_28"
NAME = "source.tar.gz"
# Folders in the archive, and the requirements installed there: only the first goes along with a model.
LIBRARIES = {
    "packages": "requirements.txt",
    "training-packages": "requirements-training.txt",
    # Of models that are also trained with the container's own torch.
    "torch-packages": "requirements-training-torch.txt",
}


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What the containers of ``models/<name>`` start from; ``for_host`` leaves the libraries to this machine's."""

    folder: Path
    for_host: bool
    has_backbone: bool = True

    @classmethod
    def of(cls, name: str, *, for_host: bool) -> ModelSource:
        """The source of ``models/<name>``; those of inspection start from the embedded backbone."""
        return cls(folder=ROOT / "models" / name, for_host=for_host, has_backbone=name == "inspection")

    def digest(self) -> str:
        """SHA-256 of everything the archive is made of; equal digests make equal archives."""
        digest = hashlib.sha256(b"host" if self.for_host else b"container")
        for requirements in self._libraries().values():
            digest.update(requirements.digest().encode())
        for path, name in self._files():
            digest.update(f"\0{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        # The embedded backbone follows from the code, which is among the files and names its weights by their SHA-256.
        return digest.hexdigest()

    def build(self, output: Path) -> Path:
        """Write the archive into the folder ``output``; equal sources give equal bytes.

        Raises:
            PackagingError: uv could not install the requirements.
            WeightsError: the embedded backbone's weights are missing or altered.
        """
        entries = [(name, path.read_bytes()) for path, name in self._files()]
        if self.has_backbone and not self._own_backbone.is_file():
            entries.append((BACKBONE, _embedded_backbone()))
        target = output / NAME
        with target.open("wb") as archive:
            # Parts compressed one by one are one archive when they follow each other (RFC 1952), so that the libraries,
            # a hundred times the code, need to be packed only when they change.
            archive.write(_pack(entries))
            for folder, requirements in self._libraries().items():
                archive.write(_packed_libraries(folder, requirements).read_bytes())
            archive.write(_END)
        return target

    @property
    def _own_backbone(self) -> Path:
        """What ``export_backbone.py`` writes; it takes the embedded backbone's place."""
        return self.folder / BACKBONE

    def _libraries(self) -> dict[str, Requirements]:
        """What is installed, by its folder in the archive."""
        if self.for_host:
            return {}
        return {
            folder: Requirements.for_platform(self.folder / file, CONTAINER_PYTHON, CONTAINER_PLATFORM)
            for folder, file in LIBRARIES.items()
            if folder != "torch-packages" or (self.folder / file).is_file()
        }

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Files to pack, and their names, in a fixed order."""
        for name in (*ENTRY_POINTS, BACKBONE):
            if (self.folder / name).is_file():
                yield self.folder / name, name
        programs = (self.folder / name for name in ENTRY_POINTS if (self.folder / name).is_file())
        for file in import_closure(programs).files:
            yield file, file.relative_to(LIBRARY.parent).as_posix()


def _embedded_backbone() -> bytes:
    from defectory.inspection.backbone import embedded_backbone

    return embedded_backbone().content


def _packed_libraries(folder: str, requirements: Requirements) -> Path:
    """What is installed, packed as ``folder``; kept for the next time."""
    packed = CACHE / f"{requirements.digest()}-{folder}.tar.gz"
    if not packed.exists():
        installed = requirements.installed()
        files = {path.relative_to(installed): path for path in sorted(installed.rglob("*")) if path.is_file()}
        entries = [
            (f"{folder}/{name.as_posix()}", path.read_bytes())
            for name, path in files.items()
            if not {"__pycache__", "tests"} & set(name.parts)
        ]
        with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as file:
            file.write(_pack(entries))
        Path(file.name).replace(packed)
    return packed


def _pack(entries: list[tuple[str, bytes]]) -> bytes:
    """Members of a ``tar.gz`` without its end."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
        length = archive.offset
    return gzip.compress(plain.getvalue()[:length], compresslevel=6, mtime=0)


# A tar archive ends in two blocks of zeros.
_END = gzip.compress(bytes(1024), mtime=0)
