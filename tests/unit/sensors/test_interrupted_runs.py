"""Runs that are ended by a signal leave no folder in the temporary one, no half dataset, and no process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

SCRIPT = """
from pathlib import Path
from defectory.sensors.sandbox import run_script
run_script("import time\\n\\ndef main():\\n    time.sleep(600)\\n\\nmain()\\n", Path("out"), trusted=True)
"""
PROGRAMS = {
    "run_script": ["-c", SCRIPT],
    "generate": [
        "-m",
        "defectory",
        "sensors",
        "generate",
        "--industry",
        "paper",
        "--number",
        "2",
        "--user-id",
        "a",
        "--out",
        "out",
    ],
}
ENDED_BY = {signal.SIGTERM: {128 + signal.SIGTERM}, signal.SIGINT: {-signal.SIGINT, 1, 130}}


@pytest.fixture
def temporary():
    # Where another user may walk to, as the sandbox wants it.
    folder = Path(tempfile.mkdtemp(prefix="interrupted-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("number", ENDED_BY)
def test_a_signal_amid_a_run_leaves_nothing(program, number, temporary, tmp_path):
    # Given a run whose script is at work
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, *PROGRAMS[program]],
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(temporary.glob("defectory-run-*/work")):
        assert process.poll() is None
        time.sleep(0.01)

    # When it is ended: by a terminal, whose Ctrl-C all its processes get, or by whoever knows it alone
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)

    # Then it ends as one who was asked to, and nothing is left
    assert process.wait(60) in ENDED_BY[number]
    assert list(temporary.iterdir()) == []
    assert [path.name for path in tmp_path.glob("out/*") if path.name.startswith(".generating")] == []
    with pytest.raises(ProcessLookupError):
        _wait_for_the_end_of(process.pid)


def _wait_for_the_end_of(group: int) -> None:
    """Helpers of multiprocessing end when they see that their parent is gone."""
    for _ in range(6000):
        os.killpg(group, 0)
        time.sleep(0.01)
