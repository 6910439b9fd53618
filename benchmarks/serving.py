"""``defectory inspect serve`` under load: requests a second by 4 clients, and memory over a longer time.

A photo is sent over and over by clients that keep their connections.  Servers take turns, so that what else the
machine does falls on all of them.  ``DEFECTORY_BEFORE`` names a checkout of an earlier release to measure in the same
run.  A soak, with memory every ten seconds: ``python -m benchmarks.serving 1800``.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from benchmarks.measure import ROOT, table
from defectory.door import TOKEN_VARIABLE, new_secret
from defectory.inspection.samples import write_samples
from defectory.inspection.training import train_folders
from defectory.vision.images import encode_jpeg, load_image

CLIENTS = 4
TOKEN = new_secret()
SOAK_STEP = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did for its clients."""

    per_second: float
    cpu_ms: float
    p95_ms: float


@contextmanager
def served(command: list[str], checkout: Path = ROOT) -> Iterator[tuple[str, int]]:
    """The address and the process of a server."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), TOKEN_VARIABLE: TOKEN}
    with subprocess.Popen(
        [sys.executable, "-u", *command], env=environment, cwd=checkout, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            [url] = re.findall(r"http://\S+", process.stdout.readline())
            yield url, process.pid
        finally:
            process.kill()


def send(url: str, photo: bytes, seconds: float) -> list[float]:
    """Seconds that each request of ``CLIENTS`` clients took; all of them were answered 200."""
    durations: list[float] = []
    failures: list[str] = []
    kind = "png" if photo.startswith(b"\x89PNG") else "jpeg"
    headers = {
        "Content-Type": f"image/{kind}",
        "Authorization": f"Bearer {TOKEN}",
    }
    end = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        while time.perf_counter() < end and not failures:
            started = time.perf_counter()
            connection.request("POST", "/invocations", photo, headers)
            answer = connection.getresponse()
            content = answer.read()
            durations.append(time.perf_counter() - started)
            if answer.status != 200:
                failures.append(content.decode())

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"serving: {failures[0]}")
    return durations


def measure(url: str, process: int, photo: bytes, seconds: float) -> Load:
    before, started = cpu_seconds(process), time.perf_counter()
    durations = send(url, photo, seconds)
    wall = time.perf_counter() - started
    cpu = (cpu_seconds(process) - before) / len(durations)
    return Load(len(durations) / wall, cpu * 1e3, sorted(durations)[int(len(durations) * 0.95)] * 1e3)


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    [line] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@contextmanager
def example() -> Iterator[tuple[Path, bytes]]:
    """The bundle of a model of 30 photos of 256x256 pixels, and a photo of that size to send."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder, good=30, defective=1, seed=1)
        [photo] = (folder / "anomaly").glob("*.png")
        yield train_folders(folder / "normal").save(folder / "model.tar.gz"), photo.read_bytes()


def as_camera(photo: bytes) -> bytes:
    """The photo as a camera may send it: JPEG of 1024x1024 pixels, with noise."""
    large = np.asarray(Image.fromarray(load_image(photo)).resize((1024, 1024)), np.int16)
    noise = np.random.default_rng(1).integers(-6, 7, large.shape)
    return encode_jpeg(np.clip(large + noise, 0, 255).astype(np.uint8))


def report(runs: int = 5, seconds: float = 4.0) -> str:
    """Medians over ``runs`` turns of ``seconds`` each, for both kinds of photo."""
    with example() as (bundle, photo):
        ours = ["-m", "defectory", "inspect", "serve", str(bundle), "--port", "0"]
        servers: dict[str, tuple[list[str], Path]] = {
            "defectory inspect serve": (ours, ROOT),
            "http.server, a thread for each connection": (
                ["-m", "benchmarks.peers.threaded_server", str(bundle)],
                ROOT,
            ),
        }
        if before := os.environ.get("DEFECTORY_BEFORE"):
            servers["the release before"] = (ours, Path(before))
        tables = [
            compare(f"{CLIENTS} clients, {name}", servers, sent, runs, seconds)
            for name, sent in (("PNG of 256x256", photo), ("JPEG of 1024x1024", as_camera(photo)))
        ]
    return "\n\n".join(tables)


def compare(title: str, servers: Mapping[str, tuple[list[str], Path]], photo: bytes, runs: int, seconds: float) -> str:
    loads: Mapping[str, list[Load]] = {name: [] for name in servers}
    for _ in range(runs):
        for name, (command, checkout) in servers.items():
            with served(command, checkout) as (url, process):
                send(url, photo, 1.0)
                loads[name].append(measure(url, process, photo, seconds))
    medians = {
        name: Load(*(statistics.median(getattr(load, field) for load in turns) for field in Load.__slots__))
        for name, turns in loads.items()
    }
    base = next(iter(medians.values())).per_second
    rows = [
        (name, f"{load.per_second:.1f}", f"{base / load.per_second:.2f}x", f"{load.cpu_ms:.1f}", f"{load.p95_ms:.0f}")
        for name, load in medians.items()
    ]
    return table((title, "requests / s", "ours / this", "CPU ms each", "95 % within ms"), rows)


def soak(seconds: float) -> None:
    """Load for ``seconds``; prints requests and resident memory as it goes."""
    with (
        example() as (bundle, photo),
        served(["-m", "defectory", "inspect", "serve", str(bundle), "--port", "0"]) as (url, process),
    ):
        started, requests = time.perf_counter(), 0
        while (now := time.perf_counter() - started) < seconds:
            requests += len(send(url, photo, min(SOAK_STEP, seconds - now)))
            passed = time.perf_counter() - started
            print(f"{passed:6.0f} s {requests:8d} requests {resident_mb(process):7.1f} MB", flush=True)


if __name__ == "__main__":
    soak(float(sys.argv[1]))
