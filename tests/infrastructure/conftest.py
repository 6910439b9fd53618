"""The synthesised app: each configuration once a session, without building the functions' packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import aws_cdk as cdk
import pytest
from templates import Template

from stacks.application import create_app

Synthesise = Callable[..., Template]
PAINTING = {"alert_email": "ops@example.com", "defect_email": "line@example.com", "scene_model": "gligen-1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests together on one worker, for the sake of the one synthesis."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("synthesis"))


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """A stack of the app with the given settings; the same settings give the same template again."""

    @cache
    def assemble(region: str, settings: frozenset[tuple[str, str]]) -> tuple[cdk.App, dict[str, Path]]:
        context = {"aws:cdk:bundling-stacks": [], **dict(settings)}
        app = create_app({"AWS_REGION": region}, context, outdir=tmp_path_factory.mktemp("cdk"))
        name = app.node.try_get_context("name") or "defectory"
        stacks = {stack.stack_name.removeprefix(f"{name}-"): stack for stack in app.synth().stacks}
        return app, {stack: Path(synthesised.template_full_path) for stack, synthesised in stacks.items()}

    @cache
    def synthesise(stack: str = "sensor-data", region: str = "us-east-1", **settings: str) -> Template:
        app, templates = assemble(region, frozenset(settings.items()))
        return Template(json.loads(templates[stack].read_text()), app)

    return synthesise


@pytest.fixture(scope="session")
def template(synthesise: Synthesise) -> Template:
    """The template of sensor data that cdk.json gives, with somebody to tell."""
    return synthesise(alert_email="ops@example.com", defect_email="line@example.com")


@pytest.fixture(scope="session")
def inspection(synthesise: Synthesise) -> Template:
    """The template of the inspection line that cdk.json gives, with somebody to tell."""
    return synthesise("inspection", alert_email="ops@example.com", defect_email="line@example.com")


@pytest.fixture(scope="session")
def synthesis(synthesise: Synthesise) -> Template:
    """The template of image synthesis that cdk.json gives, with somebody to tell."""
    return synthesise("image-synthesis", alert_email="ops@example.com", defect_email="line@example.com")


@pytest.fixture(scope="session")
def detection(synthesise: Synthesise) -> Template:
    """The template of scenes and detectors that cdk.json gives, with somebody to tell and a model that paints."""
    return synthesise("detection", **PAINTING)


@pytest.fixture(scope="session", params=["sensor-data", "inspection", "image-synthesis", "detection"])
def stack(request: pytest.FixtureRequest, synthesise: Synthesise) -> Template:
    """Each stack's template in turn."""
    return synthesise(request.param, alert_email="ops@example.com", defect_email="line@example.com")
