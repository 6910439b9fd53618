"""Workers: whatever one job does to its process, the other jobs have their results."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from defectory.sensors.pipeline.workers import Lost, run_isolated


def double(number: int) -> int:
    return 2 * number


def misbehave(how: str) -> str:
    match how:
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits":
            os._exit(3)
        case "raises":
            raise ValueError("no such machine")
        case "panics":
            raise BaseException("a panic of polars")
        case "is out of room":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "never ends":
            threading.Event().wait()
        case "takes all memory":
            bytearray(2**50)
        case _ if how.startswith("holds "):
            with tempfile.TemporaryDirectory(dir=how.removeprefix("holds ")):
                threading.Event().wait()
    return "well"


def pid(_: int) -> int:
    return os.getpid()


def outcomes(jobs, seconds=60.0, **options):
    return dict(run_isolated(misbehave, jobs, seconds=seconds, **options))


def test_every_job_has_its_result():
    assert dict(run_isolated(double, range(7), seconds=60)) == {n: 2 * n for n in range(7)}


def test_a_temporary_folder_with_a_long_name_does_as_well(tmp_path):
    """A socket's path may have about 100 bytes."""
    folder = tmp_path / ("long name ü " * 12)
    folder.mkdir()
    code = (
        "from tests.unit.sensors.pipeline.test_workers import double, run_isolated\n"
        "if __name__ == '__main__': print(list(run_isolated(double, [21], seconds=60)))"
    )
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[(21, 42)]\n", 0), done.stderr
    assert list(folder.iterdir()) == []


def test_no_jobs_no_results():
    assert list(run_isolated(double, [], seconds=60)) == []


def test_jobs_run_in_processes_of_their_own():
    pids = [result for _, result in run_isolated(pid, range(4), seconds=60)]

    assert len({*pids, os.getpid()}) == 5


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("is killed", "ended by signal SIGKILL"),
        ("exits", "ended with exit code 3"),
        ("raises", "unexpected ValueError: no such machine"),
        ("panics", "unexpected BaseException: a panic of polars"),
        ("takes all memory", "unexpected MemoryError"),
    ],
)
def test_a_job_that_dies_is_lost_with_the_reason_and_alone(how, reason):
    results = outcomes([how, "first", "second", "third"])

    lost = results.pop(how)
    assert isinstance(lost, Lost)
    assert reason in lost.reason
    assert results == {"first": "well", "second": "well", "third": "well"}


def test_a_full_disk_is_told_as_that_and_without_a_traceback(capfd):
    [outcome] = outcomes(["is out of room"]).values()

    assert outcome.disk == "No space left on device"
    assert "Traceback" not in capfd.readouterr().err


def test_a_job_that_never_ends_is_stopped_and_the_others_go_on():
    results = outcomes(["never ends", "first", "second"], seconds=1.0, workers=2)

    assert results.pop("never ends") == Lost("took longer than 1 s and was stopped")
    assert results == {"first": "well", "second": "well"}


def test_a_job_that_is_stopped_cleans_up(tmp_path):
    ((_, outcome),) = run_isolated(misbehave, [f"holds {tmp_path}"], seconds=1.0)

    assert isinstance(outcome, Lost)
    assert list(tmp_path.iterdir()) == []


def test_abandoning_the_results_stops_the_processes():
    running = run_isolated(misbehave, ["well", "never ends"], seconds=600, workers=2)

    next(running)
    running.close()  # returns only once the process that never ends is gone
