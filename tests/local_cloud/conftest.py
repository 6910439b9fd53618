"""A local cloud for the tests of it, and the same cloud with the sample app deployed."""

from collections.abc import Iterator

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.local_cloud.sample_app import STACK, write_assembly


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as running:
        yield running


@pytest.fixture(scope="session")
def sample(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of the sample app."""
    return cloud.deploy(write_assembly(tmp_path_factory.mktemp("assembly")))[STACK]


@pytest.fixture(scope="session")
def deployed_app(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of the application itself, synthesised from this repository and deployed."""
    assembly = synthesise(tmp_path_factory.mktemp("application") / "cdk.out")
    return {name: value for outputs in cloud.deploy(assembly).values() for name, value in outputs.items()}
