"""Packages of Lambda functions, built with uv and without Docker.

A package is a function's folder, the modules of ``defectory`` that it needs, and its requirements.  Installed
requirements are kept, under ``build/`` in a checkout, so that a change of code alone installs nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

import defectory
from defectory.config import Config
from defectory.errors import DefectoryError

# The application: the repository, or a folder of the installed library.
ROOT = Path(__file__).parent.parent
LIBRARY = Path(defectory.__file__).parent
REQUIREMENTS = "requirements.txt"
LAMBDA_PLATFORM = "aarch64-manylinux_2_28"


def _cache_folder() -> Path:
    """Where installed requirements are kept: an installed application may be another user's to write to."""
    if ROOT.parent != LIBRARY:
        return ROOT / "build" / "lambda-requirements"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "defectory" / "lambda-requirements"


CACHE = _cache_folder()

# What packages have inside them for those who develop them; Lambda counts every byte.
_NOT_RUN = shutil.ignore_patterns("tests", "*.pyi", "__pycache__")


class PackagingError(DefectoryError):
    """A function's requirements could not be installed."""

    code = "PackagingFailed"


@dataclass(frozen=True, slots=True)
class Requirements:
    """The packages of a requirements file for one platform; ``target`` are uv's arguments that name it."""

    file: Path
    target: tuple[str, ...]

    @classmethod
    def for_host(cls, file: Path) -> Requirements:
        """For this interpreter on this machine."""
        return cls(file, ("--python", sys.executable))

    @classmethod
    def for_platform(cls, file: Path, python: str, platform: str) -> Requirements:
        """For a version of Python on a platform as uv names it; nothing is compiled."""
        only_wheels = ("--only-binary", ":all:")
        return cls(file, ("--python-version", python, "--python-platform", platform, *only_wheels))

    def digest(self) -> str:
        """SHA-256 of the file's content and the platform."""
        # The host's own interpreter may be updated in place.
        host = self.target[:1] == ("--python",)
        where = (platform.platform(), platform.python_version()) if host else list(self.target)
        return hashlib.sha256(repr((where, self.file.read_text())).encode()).hexdigest()

    def installed(self) -> Path:
        """The folder they are installed in, which they are if it is the first time.

        Raises:
            PackagingError: uv could not install them.
        """
        installed = CACHE / self.digest()
        if installed.exists():
            return installed
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="installing-") as folder:
            target = Path(folder) / "packages"
            command = [
                *(uv.find_uv_bin(), "pip", "install", "--quiet", "--link-mode", "copy", "--no-deps"),
                *("--require-hashes", "--target", str(target), "--requirement", str(self.file)),
                *self.target,
            ]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                raise PackagingError(
                    f"uv could not install {self.file}: {error.stderr.strip()}\n"
                    "Check the network and the package index (UV_DEFAULT_INDEX), or the pins in that file."
                ) from error
            (target / ".lock").unlink(missing_ok=True)
            try:
                target.replace(installed)
            except OSError:
                # Another process was faster; what it installed is the same.
                if not installed.exists():
                    raise
        return installed


def locate(module: str) -> Path:
    """The file or folder ``defectory/...`` of the library, or any other of the application."""
    return (LIBRARY.parent if module.partition("/")[0] == LIBRARY.name else ROOT) / module


def base_of(path: Path) -> Path:
    """The folder that what ``locate`` found is named from, within a package as well."""
    return ROOT if path.is_relative_to(ROOT) else LIBRARY.parent


@dataclass(frozen=True, slots=True)
class Package:
    """What one function consists of; ``modules`` are files or folders of the library and the application."""

    function: Path
    modules: tuple[Path, ...]
    python: str
    for_host: bool

    @classmethod
    def of(cls, function: str, modules: Sequence[str], config: Config) -> Package:
        """The package of ``lambdas/<function>`` for the platform that ``config`` names."""
        return cls(
            function=ROOT / "lambdas" / function,
            modules=tuple(locate(module) for module in modules),
            python=config.lambda_python,
            for_host=config.lambda_platform == "host",
        )

    def digest(self) -> str:
        """SHA-256 of everything that the package is made of; equal digests make equal packages."""
        digest = hashlib.sha256(self._requirements().digest().encode())
        for source, target in self._sources():
            digest.update(f"\0{target}\0".encode() + hashlib.sha256(source.read_bytes()).digest())
        return digest.hexdigest()

    def build(self, output: Path) -> None:
        """Put the package into the folder ``output``.

        Raises:
            PackagingError: uv could not install the requirements.
        """
        installed = self._requirements().installed()
        shutil.copytree(installed, output, dirs_exist_ok=True, ignore=_NOT_RUN, copy_function=_link)
        for source, target in self._sources():
            (output / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, output / target)

    def _sources(self) -> Iterator[tuple[Path, Path]]:
        """Files to copy, and where to within the package, in a fixed order."""
        for folder, base in ((self.function, self.function), *((module, base_of(module)) for module in self.modules)):
            files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
            for file in files:
                if file.is_file() and "__pycache__" not in file.parts and file.name != REQUIREMENTS:
                    yield file, file.relative_to(base)

    def _requirements(self) -> Requirements:
        file = self.function / REQUIREMENTS
        if self.for_host:
            return Requirements.for_host(file)
        return Requirements.for_platform(file, self.python, LAMBDA_PLATFORM)


def _link(source: str, target: str) -> None:
    """Libraries have hundreds of megabytes, and nobody writes into a package."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
