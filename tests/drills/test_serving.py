"""The servers of models and detectors under load for long: every image is answered, and memory does not grow."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from defectory.inspection.samples import write_samples
from tests.drills.test_commands import PROGRAM, environment, run

TOKEN = "a-token-of-these-drills"
CLIENTS = 4
SETTLED = 120.0
MIB = 1024 * 1024
# Of what a server has after two minutes: what it allocates in its first requests stays with it, and no more comes.
GROWTH = 0.1


def model(folder: Path) -> tuple[Path, Path]:
    """A model's file, and that of an image to ask about."""
    write_samples(folder / "photos", good=16, defective=6, seed=1)
    done = run(["inspect", "train", "--dataset", "photos", "--out", "model.tar.gz"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "model.tar.gz", min((folder / "photos" / "anomaly").rglob("*.png"))


def detector(folder: Path) -> tuple[Path, Path]:
    """A detector's file, and that of an image to ask about."""
    compose = ["detect", "compose", "--preset", "housekeeping", "--count", "24", "--split", "train", "--seed", "1"]
    for arguments in (
        [*compose, "--size", "256", "--out", "train"],
        ["detect", "train", "train", "--side", "256", "--out", "detector.tar.gz"],
    ):
        done = run(arguments, folder)
        assert done.returncode == 0, done.stderr
    return folder / "detector.tar.gz", min((folder / "train" / "images").iterdir())


@contextmanager
def served(group: str, file: Path) -> Iterator[tuple[int, str]]:
    """The process of a server, and where it listens."""
    process = subprocess.Popen(
        [*PROGRAM, group, "serve", str(file), "--port", "0"],
        env=environment(file.parent, DEFECTORY_SERVE_TOKEN=TOKEN),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout
    try:
        yield process.pid, urlsplit(process.stdout.readline().split(" at ")[1].split()[0]).netloc
    finally:
        process.terminate()
        process.wait(60)


def resident(pid: int) -> int:
    """Bytes of memory that a process has (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def ask(address: str, image: Path, answers: Counter[int], stopped: threading.Event) -> None:
    connection = http.client.HTTPConnection(address, timeout=120)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": f"image/{image.suffix[1:].replace('jpg', 'jpeg')}"}
    content = image.read_bytes()
    while not stopped.is_set():
        connection.request("POST", "/invocations", content, headers)
        reply = connection.getresponse()
        reply.read()
        answers[reply.status] += 1
    connection.close()


@pytest.mark.parametrize(("group", "make", "minutes"), [("inspect", model, 30), ("detect", detector, 10)])
def test_a_server_under_load_does_not_grow(folder, group, make, minutes, report):
    file, image = make(folder)
    answers, stopped = [Counter() for _ in range(CLIENTS)], threading.Event()
    with served(group, file) as (pid, address):
        clients = [threading.Thread(target=ask, args=(address, image, counts, stopped)) for counts in answers]
        for client in clients:
            client.start()
        try:
            time.sleep(SETTLED)
            warm = resident(pid)
            time.sleep(60 * minutes - SETTLED)
            late = resident(pid)
        finally:
            stopped.set()
            for client in clients:
                client.join(120)

    total = sum(answers, Counter())
    report |= {"answers": dict(total), "a second": round(total.total() / 60 / minutes, 1)}
    report |= {"MB after 2 minutes": warm // MIB, f"MB after {minutes}": late // MIB}
    assert total.keys() == {200}
    assert late <= warm * (1 + GROWTH)
