"""A local cloud for the tests of it, and the same cloud with the sample app deployed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from tests.local_cloud.application import Application, model
from tests.local_cloud.laboratory import Laboratory
from tests.local_cloud.roles import create_role
from tests.local_cloud.sample_app import STACK, write_assembly
from tests.support.bedrock_server import MODEL, BedrockServer
from tests.support.permissions import keep_or_compare


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as running:
        create_role(running)
        yield running


@pytest.fixture(scope="session")
def sample(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of the sample app."""
    return cloud.deploy(write_assembly(tmp_path_factory.mktemp("assembly")))[STACK]


@pytest.fixture(scope="session")
def laboratory(cloud: LocalCloud) -> Laboratory:
    """SageMaker with entry points and data in a bucket."""
    made = Laboratory(cloud)
    made.furnish()
    return made


@pytest.fixture(scope="session")
def bedrock() -> Iterator[BedrockServer]:
    """What the application with a model talks to."""
    with BedrockServer(responder=model) as server:
        yield server


@pytest.fixture(scope="session")
def assemblies(bedrock: BedrockServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The application, synthesised as the local cloud deploys it, and with a model and a function that inspects."""
    settings = {
        "catalogue": {"scene_model": "gligen-1"},
        "bedrock": {"author": "bedrock", "model_id": MODEL, "name": "with-model", "inspection_endpoint": "lambda"},
    }
    return {
        author: synthesise(tmp_path_factory.mktemp(author) / "cdk.out", context=context)
        for author, context in settings.items()
    }


@pytest.fixture(scope="session")
def applications(bedrock: BedrockServer, assemblies: dict[str, Path]) -> Iterator[dict[str, Application]]:
    """The application twice in one cloud: as the local cloud deploys it, with the catalogue; and with a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", bedrock.endpoint)
        with LocalCloud() as cloud:
            create_role(cloud)
            deployed = {}
            for author, assembly in assemblies.items():
                stacks = cloud.deploy(assembly).values()
                deployed[author] = Application(
                    cloud, {name: value for outputs in stacks for name, value in outputs.items()}
                )
            yield deployed
            for name in ("defectory", "with-model"):
                keep_or_compare(cloud, name)


@pytest.fixture(scope="session")
def guarded() -> Iterator[LocalCloud]:
    """A cloud in which nothing is but one bucket with one object."""
    with LocalCloud() as cloud:
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="album")
        s3.put_object(Bucket="album", Key="photo.txt", Body=b"a photo")
        s3.put_bucket_cors(
            Bucket="album",
            CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "PUT"]}]},
        )
        yield cloud
