"""Packages of Lambda functions, built with uv and without Docker.

A package is a function's folder, what its handler imports of ``defectory``, and its requirements.  Installed
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
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import uv

from defectory.config import Config
from defectory.errors import DefectoryError
from stacks.import_closure import LIBRARY, ImportClosure, MissingImportError, import_closure

# The application: the repository, or a folder of the installed library.
ROOT = Path(__file__).parent.parent
REQUIREMENTS = "requirements.txt"
HANDLER = "handler.py"
LAMBDA_PLATFORM = "aarch64-manylinux_2_28"
# What Lambda's own Python brings along.
LAMBDA_RUNTIME = frozenset({"boto3", "botocore", "s3transfer", "urllib3", "dateutil", "six", "jmespath"})


def _cache_folder() -> Path:
    """Where installed requirements are kept: an installed application may be another user's to write to."""
    if ROOT.parent != LIBRARY:
        return ROOT / "build" / "lambda-requirements"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "defectory" / "lambda-requirements"


CACHE = _cache_folder()

# A source package would run code of its own to be built.
_ONLY_WHEELS = ("--only-binary", ":all:")
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
        """For this interpreter on this machine; nothing is compiled."""
        return cls(file, ("--python", sys.executable, *_ONLY_WHEELS))

    @classmethod
    def for_platform(cls, file: Path, python: str, platform: str) -> Requirements:
        """For a version of Python on a platform as uv names it; nothing is compiled."""
        # Where there is no Python on the PATH, uv would download one to ask.
        interpreter = ("--python", sys.executable)
        return cls(file, ("--python-version", python, "--python-platform", platform, *_ONLY_WHEELS, *interpreter))

    def digest(self) -> str:
        """SHA-256 of the file's content and the platform."""
        # The host's own interpreter may be updated in place, and is of no account where it only asks.
        host = self.target[:1] == ("--python",)
        where = (platform.platform(), platform.python_version()) if host else list(self.target[:-2])
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


@dataclass(frozen=True, slots=True)
class Package:
    """What a function consists of, or several that share a package.

    ``functions`` are their folders.  The first one's files are at the package's root, and its requirements are those of
    all; the others' are under ``lambdas/<function>``.
    """

    functions: tuple[Path, ...]
    python: str
    for_host: bool
    library: Path = LIBRARY

    @classmethod
    def of(cls, functions: Sequence[str], config: Config) -> Package:
        """The package of ``lambdas/<function>`` for each of them, for the platform that ``config`` names."""
        return cls(
            functions=tuple(ROOT / "lambdas" / function for function in functions),
            python=config.lambda_python,
            for_host=config.lambda_platform == "host",
        )

    def digest(self) -> str:
        """SHA-256 of everything that the package is made of; equal digests make equal packages.

        Raises:
            MissingImportError: a handler, or a module that it needs, imports what the library has not.
        """
        digest = hashlib.sha256(self._requirements().digest().encode())
        for source, target in self._sources():
            digest.update(f"\0{target}\0".encode() + hashlib.sha256(source.read_bytes()).digest())
        return digest.hexdigest()

    def build(self, output: Path) -> None:
        """Put the package into the folder ``output``.

        Raises:
            PackagingError: uv could not install the requirements.
            MissingImportError: a handler, or a module that it needs, imports what nobody brings along.
        """
        installed = self._requirements().installed()
        self._check_others({path.name.partition(".")[0] for path in installed.iterdir()})
        shutil.copytree(installed, output, dirs_exist_ok=True, ignore=_NOT_RUN, copy_function=_link)
        for source, target in self._sources():
            (output / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, output / target)

    def _sources(self) -> Iterator[tuple[Path, Path]]:
        """Files to copy, and where to within the package, in a fixed order."""
        first, *others = self.functions
        for folder, target in ((first, Path()), *((folder, Path("lambdas") / folder.name) for folder in others)):
            for file in sorted(folder.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts and file.name != REQUIREMENTS:
                    yield file, target / file.relative_to(folder)
        for file in self._closure().files:
            yield file, file.relative_to(self.library.parent)

    def _closure(self) -> ImportClosure:
        return import_closure((folder / HANDLER for folder in self.functions), library=self.library)

    def _check_others(self, installed: Set[str]) -> None:
        """Refuse what would not load: a package that neither Python, nor Lambda, nor the requirements have."""
        available = sys.stdlib_module_names | LAMBDA_RUNTIME | installed
        for name, where in sorted(self._closure().others.items()):
            if name not in available:
                file = self.functions[0] / REQUIREMENTS
                raise MissingImportError(
                    f"{where}: there is no package {name}. Correct the import, or add it to {file}."
                )

    def _requirements(self) -> Requirements:
        file = self.functions[0] / REQUIREMENTS
        if self.for_host:
            return Requirements.for_host(file)
        return Requirements.for_platform(file, self.python, LAMBDA_PLATFORM)


def _link(source: str, target: str) -> None:
    """Libraries have hundreds of megabytes, and nobody writes into a package."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
