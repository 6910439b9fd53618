"""The inspection line in a cloud of its own, with a model in service, for drills in full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.local_cloud.line import Line
from tests.local_cloud.roles import create_role


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    # Every mail of its own: what has to be told, and what was, is counted one by one.
    context = {"alert_limit_per_hour": "1000"}
    with LocalCloud() as cloud:
        create_role(cloud)
        stacks = cloud.deploy(synthesise(tmp_path_factory.mktemp("drills") / "cdk.out", context=context))
        line = Line(cloud, {name: value for outputs in stacks.values() for name, value in outputs.items()})
        line.deploy(tmp_path_factory.mktemp("model"))
        yield line


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """Figures of a drill, printed at its end whether it held or not."""
    figures: dict[str, object] = {}
    yield figures
    with capsys.disabled():
        print(f"\n{request.node.name}: {figures}", flush=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that any user may walk to, as the sandbox's own users have to."""
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    return tmp_path
