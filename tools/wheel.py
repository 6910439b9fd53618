"""How wheels are built: the application travels with the library, so that ``defectory demo`` needs no checkout.

In a wheel ``app.py``, ``stacks/`` and what they deploy are the folder ``defectory/application/``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from setuptools.command.build_py import build_py

APPLICATION = Path("defectory", "application")
FILES = ("app.py", "cdk.json")
FOLDERS = ("stacks", "lambdas", "buildspec", "models")
# Anything else in these folders is somebody's own: caches, an exported backbone.
SUFFIXES = frozenset({".py", ".txt", ".json", ".yml", ".yaml"})
NAMES = frozenset({"Dockerfile"})
# What building takes, and a source distribution has to hold.
BUILD_FILES = ("tools/__init__.py", "tools/wheel.py")


def application_files() -> Iterator[Path]:
    """The application's files, relative to the project, which is the current folder in any build."""
    yield from map(Path, FILES)
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            is_ours = path.suffix in SUFFIXES or path.name in NAMES
            if path.is_file() and is_ours and "__pycache__" not in path.parts:
                yield path


class BuildWithApplication(build_py):
    """setuptools' own step, and the application beside the library's modules."""

    def run(self) -> None:
        """Build into a folder without what an earlier build left there: modules since removed would travel, too."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, "defectory"), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for path in application_files():
                target = Path(self.build_lib) / APPLICATION / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def get_source_files(self) -> list[str]:
        """What a source distribution holds: also what the wheel is built from and by."""
        return [*super().get_source_files(), *map(str, application_files()), *BUILD_FILES]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Every file in the build folder, by which installers know what is theirs."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            outputs += [str(Path(self.build_lib) / APPLICATION / path) for path in application_files()]
        return outputs
