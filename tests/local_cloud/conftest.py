"""A local cloud for the tests of it, and the same cloud with the sample app deployed."""

from collections.abc import Iterator

import pytest

from defectory.local.cloud import LocalCloud
from tests.local_cloud.sample_app import STACK, write_assembly


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as running:
        yield running


@pytest.fixture(scope="session")
def sample(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of the sample app."""
    return cloud.deploy(write_assembly(tmp_path_factory.mktemp("assembly")))[STACK]
