"""A build that is over its time, without the five minutes that CodeBuild gives it at least."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from unittest import mock

import pytest

from defectory.local.server.codebuild import interpreter, service
from defectory.local.server.codebuild.agent import Commands, Job
from defectory.local.server.codebuild.jobs import Order
from defectory.local.server.codebuild.service import Build, Builds
from tests.local_cloud.processes import using


class Clock:
    """In the place of timers: ends what is timed when the build is at work."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.end: Callable[[], None] = lambda: None

    def timer(self, seconds: float, end: Callable[[], None]) -> mock.Mock:
        self.seconds, self.end = seconds, end
        return mock.Mock()

    def follow(self, log: IO[bytes]) -> None:
        for line in log:
            if line.strip() == b"at work":
                self.end()


@pytest.mark.parametrize(
    ("project", "override", "minutes"), [({"timeoutInMinutes": 7}, None, 7), ({}, 5, 5), ({}, None, 60)]
)
def test_build_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: dict[str, Any], override: int | None, minutes: int
) -> None:
    mark, clock = f"3{os.getpid()}{minutes}", Clock()
    commands = [f"setsid nohup sleep {mark} > /dev/null 2>&1 &", f"echo at work; sleep {mark}"]
    phases = [Commands("BUILD", commands, [], goes_on=False)]
    job = Job([(str(tmp_path / "source"), None)], str(tmp_path), "/bin/sh", {"PATH": os.environ["PATH"]}, phases)
    (tmp_path / "job.json").write_text(job.dump())
    order = Order("p", [], [], [], timeout_minutes=override)
    build = Build("b", "arn", mock.Mock(), order, project, {"phases": []}, mock.Mock(keys=()))
    builds = Builds.__new__(Builds)
    builds._settings = mock.Mock(process_environment=lambda: dict(os.environ))
    monkeypatch.setattr(builds, "_publish", lambda build, changes: build.record.update(changes), raising=False)
    monkeypatch.setattr(service, "threading", mock.Mock(Timer=clock.timer, Event=threading.Event))

    assert not builds._run_agent(build, tmp_path / "job.json", mock.Mock(follow=clock.follow))

    assert clock.seconds == minutes * 60
    [context] = build.record["phases"][-1]["contexts"]
    assert (build.status, context["statusCode"]) == ("TIMED_OUT", "BUILD_TIMED_OUT")
    assert using(mark) == []


@pytest.mark.parametrize("installed", [True, False])
def test_a_builds_python_has_pip_where_the_one_here_has_none(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(interpreter, "find_spec", lambda name: name if installed else None)
    monkeypatch.setattr(interpreter.venv.EnvBuilder, "_setup_pip", lambda _, context: given.append(context))

    programs = interpreter.create(tmp_path / "python")

    assert (programs / "python").exists()
    assert bool(given) == (not installed)
