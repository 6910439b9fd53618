"""The folder that a container knows as ``/opt/ml``, and how S3's objects come into it and out of it.

::

    model/                  the model, unpacked; what training leaves here becomes model.tar.gz
    code/                   the entry point, unpacked
    input/config/           hyperparameters.json, inputdataconfig.json, resourceconfig.json
    input/data/<channel>/   what training learns from
    output/                 failure, if training wrote why it failed; data/ becomes output.tar.gz
    tmp/                    temporary files, and the home
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from defectory.archives import ArchiveError, Limits, extract, tar_members
from defectory.local.environment import with_interpreter_first
from defectory.local.server.authorization.permissions import Access, NotAuthorized, Permit
from defectory.local.server.authorization.requirements import with_keys
from defectory.local.server.objects import Objects
from defectory.local.server.services import ServiceFault

# They go to the disk, so what is here is far from what models and their libraries need.
ARCHIVE = Limits(8 * 1024**3, 200_000)
MOUNT = "/opt/ml"
PROGRAM = "SAGEMAKER_PROGRAM"
SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"


class ContentError(Exception):
    """Something that a container needs is not there, or is not what it should be; the message names it."""


class Volume:
    """The ``/opt/ml`` of one container, a folder of its own that goes with it."""

    def __init__(self, root: Path, objects: Objects, permit: Permit) -> None:
        """``permit`` knows what the container's role may do."""
        self.root = root
        self._objects = objects
        self._permit = permit
        for name in ("model", "code", "input/config", "input/data", "output/data", "tmp"):
            (root / name).mkdir(parents=True)

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def environment(self, base: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
        """The variables of a process in this container.

        It finds the interpreter's installed packages and its own code, not the checkout that the local cloud runs from:
        code that was not packed fails here as it would in AWS.

        Args:
            base: how to reach the cloud, and what every process has.
            own: those of the request, where paths below ``/opt/ml`` are meant as paths in here.
        """
        packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        found_first = map(self.inside, filter(None, own.get("PYTHONPATH", "").split(os.pathsep)))
        return {
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **base,
            "PATH": with_interpreter_first(base.get("PATH", os.defpath)),
            "HOME": str(self.temporary),
            "TMPDIR": str(self.temporary),
            "SM_MODEL_DIR": str(self.model),
            **{name: self.inside(value) for name, value in own.items()},
            "PYTHONPATH": os.pathsep.join([*found_first, str(self.code), *packages]),
        }

    def inside(self, value: str) -> str:
        """``value``, as a path in here if it is one below ``/opt/ml``."""
        below = value == MOUNT or value.startswith(f"{MOUNT}/")
        return str(self.root) + value.removeprefix(MOUNT) if below else value

    def unpack(self, uri: str, target: Path) -> None:
        """Unpack an archive (.tar.gz) of S3, or of a folder in here, or copy that folder.

        Raises:
            ContentError: it is missing, or no such archive, or it would reach out of ``target``.
        """
        source = self.file(uri) if uri.startswith("s3://") else Path(self.inside(uri))
        if source.is_dir():
            if source != target:
                shutil.copytree(source, target, dirs_exist_ok=True)
            return
        try:
            with source.open("rb") as archive:
                extract(tar_members(archive, ARCHIVE), target)
        except (OSError, ArchiveError) as error:
            raise ContentError(f"{uri} is not an archive as of 'tar -czf' that can be unpacked: {error}") from None

    def download(self, uri: str, target: Path) -> int:
        """Copy an object, or all below a prefix, with the names that SageMaker gives them; return how many.

        Raises:
            ContentError: there is nothing.
        """
        target.mkdir(parents=True, exist_ok=True)
        copied = 0
        for source, name in self.below(uri):
            place = (target / name).resolve()
            if not place.is_relative_to(target.resolve()):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            # Copied, not linked: the object stays as it is, whatever is done to the file.
            shutil.copyfile(self.file(source), place)
            copied += 1
        return copied

    def below(self, uri: str) -> list[tuple[str, PurePosixPath]]:
        """The object at an address, or all below a prefix, each with the name that SageMaker gives it.

        Raises:
            ContentError: there is nothing.
        """
        bucket, prefix = split(uri)
        keys = [key for key in self._keys(uri, bucket, prefix) if not key.endswith("/")]
        if not keys:
            raise ContentError(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that objects '
                "exist under that S3 prefix"
            )
        return [(f"s3://{bucket}/{key}", _relative(key, prefix)) for key in keys]

    def manifest(self, uri: str) -> tuple[str, list[str]]:
        """The prefix and the names in a manifest as of SageMaker's S3DataSource.

        Raises:
            ContentError: it is missing, or none.
        """
        try:
            head, *names = json.loads(self.read(uri))
            return str(head["prefix"]), [str(name) for name in names]
        except (ValueError, TypeError, KeyError) as error:
            raise ContentError(f"{uri} is not a manifest as of SageMaker's S3DataSource: {error!r}") from None

    def read(self, uri: str) -> bytes:
        """The content of an object; raises ``ContentError`` if it is missing."""
        return self.file(uri).read_bytes()

    def upload(self, folder: Path, uri: str, key: str = "") -> None:
        """Pack what is in a folder to an archive of S3, encrypted with a KMS ``key`` if not with the bucket's.

        Raises:
            ContentError: there is no such bucket.
        """
        self._allow(uri, Access("s3:PutObject", _arn(*split(uri))), key)
        packed = self._objects.incoming()
        # As good as not compressed: it never leaves the machine.
        # The same files make the same archive, whenever they were written.
        with (
            packed.open("wb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w") as archive,
        ):
            for entry in sorted(folder.iterdir()):
                archive.add(entry, arcname=entry.name, filter=_undated)
        self._adopt(packed, uri, "application/x-gzip")

    def deliver(self, file: Path, uri: str, content_type: str, key: str = "") -> None:
        """Make a file an object of S3, encrypted with a KMS ``key`` if not with the bucket's; the file is moved.

        Raises:
            ContentError: there is no such bucket.
        """
        self._allow(uri, Access("s3:PutObject", _arn(*split(uri))), key)
        moved = self._objects.incoming()
        shutil.move(file, moved)
        self._adopt(moved, uri, content_type)

    def _adopt(self, file: Path, uri: str, content_type: str) -> None:
        try:
            self._objects.adopt(file, *split(uri), content_type=content_type)
        except ServiceFault as fault:
            file.unlink()
            raise ContentError(f"{uri} cannot be written: {fault}") from None

    def program(self, name: str) -> Path:
        """The entry point in the code.

        Raises:
            ContentError: it is not there.
        """
        entry_point = self.code / name
        if not entry_point.is_file():
            there = ", ".join(sorted(path.name for path in self.code.iterdir())) or "nothing"
            raise ContentError(f"the entry point {name} is not in the code, where there is: {there}")
        return entry_point

    def file(self, uri: str) -> Path:
        """An object's file, for reading only; raises ``ContentError`` if it is missing."""
        bucket, key = split(uri)
        self._allow(uri, Access("s3:GetObject", _arn(bucket, key)))
        try:
            return self._objects.path(bucket, key)
        except ServiceFault as fault:
            raise ContentError(f"{uri}: {fault}") from None

    def _keys(self, uri: str, bucket: str, prefix: str) -> Iterable[str]:
        self._allow(uri, Access("s3:ListBucket", _arn(bucket), {"s3:prefix": prefix}))
        try:
            return self._objects.keys(bucket, prefix)
        except ServiceFault as fault:
            raise ContentError(f"{uri}: {fault}") from None

    def _allow(self, uri: str, needed: Access, key: str = "") -> None:
        """Raises ``ContentError``: the container's role may not do this to a bucket, or an object in it."""
        try:
            for access in with_keys(needed, key):
                self._permit(access)
        except NotAuthorized as denial:
            raise ContentError(f"{uri}: AccessDenied: {denial}") from None


def _arn(*place: str) -> str:
    return f"arn:aws:s3:::{'/'.join(place)}"


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    Raises:
        ContentError: it is no such address.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ContentError(f"{uri} is not an address in S3, such as s3://bucket/key")
    return bucket, key


def python(program: Path, *arguments: str) -> list[str]:
    """The command that runs a program in a container; without ``site`` it finds no more than it is told."""
    return [sys.executable, "-S", str(program), *arguments]


def _relative(key: str, prefix: str) -> PurePosixPath:
    folder = prefix if prefix.endswith("/") or key.startswith(f"{prefix}/") else prefix.rpartition("/")[0]
    return PurePosixPath(key[len(folder) :].lstrip("/"))


def _undated(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    return member
