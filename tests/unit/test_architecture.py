"""The house: who may import whom, and what the front door offers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import defectory

ROOT = Path(__file__).parents[2]
FACES = ("defectory", "defectory.datasets", "defectory.images", "defectory.inspection", "defectory.sensors")


def test_no_room_knows_those_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert lint_imports(config_filename=".importlinter", no_cache=True) == 0


@pytest.mark.parametrize("package", FACES)
def test_every_name_that_a_package_offers_is_there(package: str) -> None:
    module = importlib.import_module(package)

    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


def test_the_front_door_offers_what_each_capability_offers() -> None:
    rooms = [importlib.import_module(package) for package in FACES[1:]]
    for name in set(defectory.__all__) - {"DefectoryError", "load_image"}:
        assert any(name in room.__all__ and getattr(room, name) is getattr(defectory, name) for room in rooms), name


@pytest.mark.parametrize("package", FACES[:1] + FACES[2:])
def test_importing_a_package_loads_no_library(package: str) -> None:
    code = f"import sys; before = set(sys.modules); import {package}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert {name.partition(".")[0] for name in loaded} <= {*sys.stdlib_module_names, "defectory"}


def test_a_name_that_nobody_offers_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'defectory' has no attribute 'tarin'"):
        _ = defectory.tarin  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("place", "name", "home"),
    [
        ("defectory.inspection.datasets", "load_dataset", "defectory.datasets"),
        ("defectory.inspection.datasets", "read_mask", "defectory.datasets"),
        ("defectory.inspection.datasets", "read_classes", "defectory.datasets"),
        ("defectory.inspection.datasets", "check", "defectory.inspection"),
        ("defectory.inspection.images", "load_image", "defectory.vision.images"),
    ],
)
def test_names_that_moved_are_found_where_they_were(place: str, name: str, home: str) -> None:
    assert getattr(importlib.import_module(place), name) is getattr(importlib.import_module(home), name)
