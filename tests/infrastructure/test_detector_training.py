"""Training of detectors: inspection's machine, with entry points, words and buckets of its own."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from state_machines import evaluate, states_of
from templates import Template

from stacks.model_source import ModelSource

RUN = {"name": "defectory-detection-20261121T150405678", "dataset": "s3://scenes/yard/", "test": "s3://models/test/"}


@pytest.fixture(scope="session")
def template(synthesise: Callable[..., Template]) -> Template:
    return synthesise("detection", alert_email="ops@example.com", defect_email="line@example.com")


@pytest.fixture(scope="session")
def states(template: Template) -> dict[str, Any]:
    return states_of(template, "Training")


def test_its_steps_are_those_of_inspection(states: dict[str, Any], inspection: Template) -> None:
    assert states.keys() == states_of(inspection, "Training").keys()


def test_it_runs_the_programs_of_detectors(template: Template, states: dict[str, Any]) -> None:
    train = evaluate(states["Train"]["Arguments"], run={**RUN, "options": "{}"})
    assert train["HyperParameters"]["sagemaker_program"] == "train.py"
    assert train["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == RUN["dataset"]
    assert states["CreateEndpoint"]["Arguments"]["EndpointName"] == "defectory-detection"
    # Detection's controlling function has another name than inspection's, which stands beside it.
    controller = template.function("TrainingController")
    assert controller["FunctionName"] == "defectory-detector-controller"
    assert controller["Environment"]["Variables"]["MODEL_KIND"] == "detector"


def test_where_a_function_serves_it_is_the_safety_lines(synthesise: Callable[..., Template]) -> None:
    template = synthesise("detection", inspection_endpoint="lambda")
    served = states_of(template, "Training")["VerifyModel"]["Arguments"]["FunctionName"]
    assert served == f"<{template.only('AWS::Lambda::Function', 'CheckSafety')}.Arn>"


def test_people_are_told_of_detectors(states: dict[str, Any]) -> None:
    subjects = {states[f"AlertOf{end}"]["Arguments"]["Subject"] for end in ("Success", "Rejection", "Failure")}
    assert subjects == {
        "Defectory: a new detector is in service",
        "Defectory: a new detector was rejected",
        "Defectory: training a detector failed",
    }


def test_datasets_are_read_and_only_models_written(template: Template) -> None:
    scenes, models = (template.only("AWS::S3::Bucket", name) for name in ("Scenes", "Models"))
    leaves = template.leaves(template.only("AWS::IAM::Role", "TrainingJobRole"))
    read = {leave.resource for leave in leaves if leave.action == "s3:GetObject"}
    assert {f"<{scenes}.Arn>/*", f"<{models}.Arn>/*"} < read
    assert {leave.resource for leave in leaves if leave.action == "s3:PutObject"} == {f"<{models}.Arn>/models/*"}


def test_detectors_are_kept_while_scenes_are_not(template: Template) -> None:
    buckets = template.of_type("AWS::S3::Bucket")
    rules = {
        name: buckets[template.only("AWS::S3::Bucket", name)]["LifecycleConfiguration"]["Rules"]
        for name in ("Scenes", "Models")
    }
    assert any("ExpirationInDays" in rule for rule in rules["Scenes"])
    assert not any("ExpirationInDays" in rule for rule in rules["Models"])


def test_the_source_of_detectors_brings_its_programs_and_no_backbone_of_inspection(tmp_path: Path) -> None:
    with tarfile.open(ModelSource.of("detector", for_host=True).build(tmp_path)) as archive:
        names = set(archive.getnames())
    assert {"train.py", "evaluate.py", "inference.py", "defectory/detection/gate.py"} <= names
    assert "defectory/detection/evaluation/templates/report.html.j2" in names
    assert "backbone.onnx" not in names
