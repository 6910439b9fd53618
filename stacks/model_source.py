"""The source archive of a model's containers, built with uv and without Docker.

It holds the entry points of ``models/<name>``, the package ``defectory`` as far as they need it, the backbone and, for
AWS, the libraries: a container that starts from it downloads nothing.
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
from stacks.packaging import ROOT, Requirements

MODULES = ("defectory/__init__.py", "defectory/errors.py", "defectory/py.typed", "defectory/inspection")
ENTRY_POINTS = ("train.py", "evaluate.py", "inference.py")
# What the PyTorch containers have; libraries are built for it.
CONTAINER_PYTHON = "3.12"
CONTAINER_PLATFORM = "x86_64-manylinux_2_28"
NAME = "source.tar.gz"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What the containers of ``models/<name>`` start from; ``for_host`` leaves the libraries to this machine's."""

    folder: Path
    for_host: bool

    @classmethod
    def of(cls, name: str, *, for_host: bool) -> ModelSource:
        """The source of ``models/<name>``."""
        return cls(folder=ROOT / "models" / name, for_host=for_host)

    def digest(self) -> str:
        """SHA-256 of everything the archive is made of; equal digests make equal archives."""
        digest = hashlib.sha256(self._requirements().digest().encode() if not self.for_host else b"host")
        for path, name in self._files():
            digest.update(f"\0{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        # The embedded backbone follows from these weights and from the code, which is among the files.
        digest.update((self.folder / "weights.txt").read_bytes())
        return digest.hexdigest()

    def build(self, output: Path) -> Path:
        """Write the archive into the folder ``output``; equal sources give equal bytes.

        Raises:
            PackagingError: uv could not install the requirements.
            WeightsError: the embedded backbone's weights are missing or altered.
        """
        target = output / NAME
        with tempfile.TemporaryFile() as plain:
            with tarfile.open(fileobj=plain, mode="w") as archive:
                for path, name in self._files():
                    _add(archive, name, path.read_bytes())
                if not self._own_backbone.is_file():
                    _add(archive, BACKBONE, _embedded_backbone())
                if not self.for_host:
                    installed = self._requirements().installed()
                    for path in sorted(installed.rglob("*")):
                        if path.is_file() and "__pycache__" not in path.parts:
                            _add(archive, f"packages/{path.relative_to(installed)}", path.read_bytes())
            plain.seek(0)
            with (
                target.open("wb") as file,
                gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
            ):
                while block := plain.read(1 << 20):
                    packed.write(block)
        return target

    @property
    def _own_backbone(self) -> Path:
        """What ``export_backbone.py`` writes; it takes the embedded backbone's place."""
        return self.folder / BACKBONE

    def _requirements(self) -> Requirements:
        return Requirements.for_platform(self.folder / "requirements.txt", CONTAINER_PYTHON, CONTAINER_PLATFORM)

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Files to pack, and their names, in a fixed order."""
        for name in (*ENTRY_POINTS, BACKBONE):
            if (self.folder / name).is_file():
                yield self.folder / name, name
        for module in MODULES:
            path = ROOT / module
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts:
                    yield file, file.relative_to(ROOT).as_posix()


def _embedded_backbone() -> bytes:
    from defectory.inspection.backbone import embedded_backbone

    return embedded_backbone().content


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))
