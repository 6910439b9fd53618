"""The examples in docstrings: what they say is what comes."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import defectory
from defectory import TrainingOptions, generate_datasets, train, write_samples
from defectory.sensors.authors import create_author


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(defectory.__path__, "defectory."):
        source = Path(importlib.util.find_spec(info.name).origin)
        if ">>>" in source.read_text(encoding="utf-8"):
            yield from (test for test in finder.find(importlib.import_module(info.name)) if test.examples)


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of: parts, a model of them, a dataset of a machine."""
    folder = tmp_path_factory.mktemp("examples")
    write_samples(folder / "parts", good=12, defective=6)
    model = train(sorted((folder / "parts/normal").iterdir()), options=TrainingOptions(resolution=128))
    model.save(folder / "model.tar.gz")
    generate_datasets("paper", 1, "ann", folder / "data", author=create_author("catalogue"), year=2025)
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
@pytest.mark.xdist_group("examples")
def test_examples_hold(example: doctest.DocTest, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)

    runner.run(example, out=said.append)

    assert runner.failures == 0, "".join(said)


def test_all_that_the_front_door_offers_has_an_example() -> None:
    shown = {example.name.rpartition(".")[2] for example in EXAMPLES}

    assert set(defectory.__all__) <= shown
    assert len(shown) >= 30
