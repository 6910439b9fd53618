"""The synthesised app: each configuration once a session, without building the functions' packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from templates import Template

from stacks.application import create_app

Synthesise = Callable[..., Template]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests together on one worker, for the sake of the one synthesis."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("synthesis"))


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """Synthesise the app with the given settings; the same settings give the same template again."""

    @cache
    def synthesise(region: str = "us-east-1", **settings: str) -> Template:
        context = {"aws:cdk:bundling-stacks": [], **settings}
        app = create_app({"AWS_REGION": region}, context, outdir=tmp_path_factory.mktemp("cdk"))
        [stack] = app.synth().stacks
        return Template(json.loads(Path(stack.template_full_path).read_text()), app)

    return synthesise


@pytest.fixture(scope="session")
def template(synthesise: Synthesise) -> Template:
    """The template that cdk.json gives, with somebody to tell."""
    return synthesise(alert_email="ops@example.com")
