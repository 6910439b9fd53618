"""A real browser on a hostile page: nothing that it sends to servers of this machine is done, nothing can be read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from defectory.inspection.serving import InspectionServer
from defectory.inspection.verdicts import Inspection
from defectory.local.cloud import LocalCloud
from defectory.local.server.runtime_api import API, ExecutionEnvironment
from tests.local_cloud.intruder import TEMPLATE, assert_untouched
from tests.support import browser
from tests.support.hostile_page import Attacker

pytestmark = [pytest.mark.xdist_group("local-cloud-door"), browser.needs_browser]

PATIENCE = 120.0
FORM = "application/x-www-form-urlencoded"
# What a page tries on each address, and a beacon besides.
TRIED = 11


class Model:
    """Counts what it is shown."""

    seen = 0

    def inspect(self, image: NDArray[np.uint8]) -> Inspection:
        self.seen += 1
        raise RuntimeError


@contextmanager
def serving(model: Model) -> Iterator[InspectionServer]:
    with InspectionServer(port=0, model=model, token="a-token-of-these-tests") as server:
        server.start()
        yield server


@contextmanager
def executing(folder: Path) -> Iterator[ExecutionEnvironment]:
    """A function's environment that nobody asks for work."""
    idle = [sys.executable, "-c", "import time; time.sleep(600)"]
    environment = ExecutionEnvironment(idle, folder, {}, folder / "temporary", timeout=3.0)
    yield environment
    environment.close()


def visit(attacker: Attacker, address: str, home: Path, *options: str) -> None:
    """Open the page and wait until it has tried everything."""
    # That a page of this machine asks this machine is what is tried here, not what the browser thinks of it.
    command = browser.command(home, "--disable-features=LocalNetworkAccessChecks", *options, address)
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=browser.environment(home)) as process,
    ):
        deadline = time.monotonic() + PATIENCE
        try:
            while not attacker.done.wait(0.2):
                ended = process.poll() is not None
                assert not ended and time.monotonic() < deadline, (home / "log").read_text()
        finally:
            process.kill()


def stack(name: str) -> dict[str, str]:
    return {"Action": "CreateStack", "Version": "2010-05-15", "StackName": name, "TemplateBody": json.dumps(TEMPLATE)}


def target(url: str, fields: dict[str, str] | None = None, encoding: str = FORM) -> dict[str, object]:
    return {"url": url, "fields": fields or {"x": "y"}, "encoding": encoding}


def targets(cloud: LocalCloud, inspecting: InspectionServer, runtime: ExecutionEnvironment, host: str) -> list:
    """Every listener, by a name that leads to it."""
    api = runtime._api.port
    return [
        target(f"http://{host}:{cloud.settings.port}/", stack("intruder")),
        target(f"http://{host}:{cloud.settings.port}/2015-03-31/functions/intruder/invocations", encoding="text/plain"),
        target(f"http://{host}:{cloud.settings.port}/album/photo.txt"),
        target(f"http://{host}:{cloud.settings.port}/_ministack/reset"),
        target(f"http://{host}:{inspecting.port}/invocations", encoding="multipart/form-data"),
        target(f"http://{host}:{inspecting.port}/ping"),
        target(f"http://{host}:{api}{API}/invocation/next"),
        target(f"http://{host}:{api}{API}/init/error", encoding="text/plain"),
    ]


def assert_nothing_happened(cloud: LocalCloud, model: Model, runtime: ExecutionEnvironment) -> None:
    assert_untouched(cloud)
    assert model.seen == 0
    assert not runtime._ready.is_set()
    assert runtime._answers.empty()


@pytest.mark.parametrize(
    ("page", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("evil.example", "localhost"),
        ("evil.example", "rebound.example"),
    ],
)
def test_a_page_of_another_origin_does_and_reads_nothing(
    guarded: LocalCloud,
    tmp_path: Path,
    page: str,
    host: str,
) -> None:
    model = Model()
    with serving(model) as inspecting, executing(tmp_path) as runtime:
        with Attacker(targets(guarded, inspecting, runtime, host)) as attacker:
            rules = "MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1"
            visit(attacker, f"http://{page}:{attacker.own_port}/page", tmp_path, f"--host-resolver-rules={rules}")
        assert len(attacker.report) == TRIED * len(attacker.targets)
        assert [entry for entry in attacker.report if entry[1]] == []
        assert_nothing_happened(guarded, model, runtime)


def test_a_page_whose_name_comes_to_lead_here_does_and_reads_nothing(
    guarded: LocalCloud,
    tmp_path: Path,
) -> None:
    model = Model()
    with serving(model) as inspecting, executing(tmp_path) as runtime:
        for number, one in enumerate(targets(guarded, inspecting, runtime, "evil.example")):
            home = tmp_path / str(number)
            home.mkdir()
            port = int(one["url"].split("/")[2].partition(":")[2])
            with Attacker([one], port) as attacker:
                proxy = f"--proxy-server=http://127.0.0.1:{attacker.own_port}"
                visit(attacker, f"http://evil.example:{port}/page", home, proxy)
            # It may read, being of the same origin to the browser: all that it reads is that it was refused.
            learnt = {name: value for name, value in attacker.report if value}
            assert learnt.pop("form", "evil.example").count("evil.example")
            assert set(learnt.values()) == {403}, learnt
        assert_nothing_happened(guarded, model, runtime)


def test_the_page_does_what_it_says_where_it_is_let_in(tmp_path: Path) -> None:
    """Or what is refused here would prove nothing."""
    with Attacker([]) as attacker, Attacker([]) as victim:
        attacker.targets = [target(f"http://127.0.0.1:{victim.own_port}/", stack("intruder"))]
        visit(attacker, f"http://localhost:{attacker.own_port}/page", tmp_path)
    methods = [method for method, _ in victim.received]
    assert {method: methods.count(method) for method in set(methods)} == {"POST": 5, "GET": 5, "OPTIONS": 2}
