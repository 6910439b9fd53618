"""Fixtures: one evaluation for all tests that only look at it."""

import pytest

from defectory.inspection.evaluation.evaluate import evaluate
from defectory.inspection.evaluation.report import write_report
from tests.support.scripted_inspection import Evaluated, ScriptedModel, write_dataset


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluation")
    dataset = write_dataset(folder / "photos")
    evaluation = evaluate(ScriptedModel(), dataset, folder / "out", training_images=12, project="flange")
    return Evaluated(dataset, evaluation, folder / "out", write_report(evaluation, folder / "out"))
