"""Commands in hard places: full disks, odd folders, odd environments, two at once, interrupted in each phase."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from defectory.inspection.model import load_model
from defectory.inspection.samples import write_samples
from tests.local_cloud.processes import belonging

PROGRAM = [sys.executable, "-m", "defectory"]
GENERATE = ["sensors", "generate", "--industry", "steel", "--number", "1", "--user-id", "ann", "--out", "out"]
ROOT = Path(__file__).parents[2]
PATIENCE = 900


def environment(folder: Path, **changes: str | None) -> dict[str, str]:
    """This process's environment with a temporary folder of its own."""
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o755, parents=True, exist_ok=True)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), **changes}
    return {name: value for name, value in variables.items() if value is not None}


def run(arguments: list[str], folder: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(folder, **changes),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PATIENCE,
    )


def left(folder: Path) -> list[str]:
    """What lies in the temporary folder, but for what lasts: our runtime folder, and the id that onnxruntime keeps."""
    lasting = {f"defectory-{os.getuid()}", ".ses"}
    return sorted(path.name for path in (folder / "tmp").iterdir() if path.name not in lasting)


# ------------------------------------------------------------------ disks


@pytest.fixture
def tiny(folder: Path) -> Iterator[Path]:
    """A disk of 40 MB, which takes root to mount."""
    place = folder / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=755", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="not run: mounting a disk takes root")
@pytest.mark.parametrize("what", ["out", "TMPDIR"])
def test_a_disk_that_fills_up_ends_the_work_in_one_line(tiny, folder, what):
    changes = {"TMPDIR": str(tiny)} if what == "TMPDIR" else {}
    # With 8 MB left not even the script's own table fits.
    (tiny / "ballast").write_bytes(bytes(32_000_000))
    arguments = GENERATE if what == "TMPDIR" else [*GENERATE[:-1], str(tiny / "out")]

    done = run(arguments, folder, **changes)

    errors = [line for line in done.stderr.splitlines() if "InvalidInput" in line]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "repairing" not in done.stderr
    assert not left(folder)
    out = folder / "out" if what == "TMPDIR" else tiny / "out"
    assert [path.name for path in out.iterdir()] == [".defectory-made"]


# ------------------------------------------------------------------ folders and environments

FOLDERS = {
    "long": "a" * 60 + "/" + "b" * 60,
    "spaced": "my own  parts",
    "non-ascii": "Prüfung/検査",
    "mac": "private/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T",
}


def dead_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def place(folder: Path, kind: str) -> Path:
    root = folder / FOLDERS[kind]
    root.mkdir(parents=True)
    for part in (root, *root.parents):
        if folder in (part, *part.parents):
            part.chmod(0o755)
    if kind == "mac":
        # As there, reached through a link.
        (folder / "var").symlink_to(folder / "private" / "var")
        return folder / "var" / Path(FOLDERS[kind]).relative_to("private/var")
    return root


@pytest.mark.parametrize("kind", FOLDERS)
def test_sensor_data_in_odd_folders(folder, kind):
    home = place(folder, kind)

    done = run(GENERATE, home)

    assert done.returncode == 0, done.stderr + done.stdout
    assert (home / "out" / "index.html").is_file()
    assert not left(home)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_demo_in_odd_folders(folder, kind):
    home = place(folder, kind)

    done = run(["demo", "--number", "1", "--out", "made"], home)

    assert done.returncode == 0, done.stderr + done.stdout
    assert not left(home)


PORT = dead_port()
ENVIRONMENTS: Mapping[str, dict[str, str | None]] = {
    "no home": {"HOME": None},
    "language C": {"LANG": "C", "LC_ALL": None, "PYTHONUTF8": None},
    "dead proxy": dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"), f"http://127.0.0.1:{PORT}"
    )
    | {"NO_PROXY": None, "no_proxy": None},
}


@pytest.mark.parametrize("what", ENVIRONMENTS)
def test_a_demo_in_odd_environments(folder, what):
    before = {path.name for path in ROOT.iterdir()}

    done = run(["demo", "--number", "1"], folder, **ENVIRONMENTS[what])

    assert done.returncode == 0, done.stderr + done.stdout
    assert not left(folder)
    assert {path.name for path in ROOT.iterdir()} == before


def test_two_demos_at_once(folder):
    folders = [folder / name for name in ("one", "two")]
    for each in folders:
        each.mkdir()
    demos = [
        subprocess.Popen(
            [*PROGRAM, "demo", "--number", "1"],
            cwd=each,
            env=environment(each),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        for each in folders
    ]
    said = [demo.communicate(timeout=PATIENCE)[0] for demo in demos]

    assert [demo.returncode for demo in demos] == [0, 0], said
    for each in folders:
        assert not left(each)
        assert (each / "demo-output" / "inspection" / "inspected.png").is_file()


# ------------------------------------------------------------------ interruptions


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_samples(folder, good=16, defective=6, seed=1)
    return folder


def interrupt(arguments: list[str], folder: Path, after: float, number: signal.Signals) -> tuple[int, str]:
    """Exit code and words of a command that is interrupted after so many seconds."""
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        # Ctrl-C reaches all that the terminal started, kill one process alone.
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    said = process.communicate(timeout=120)[0]
    return process.returncode, said


def commands(photos: Path) -> dict[str, tuple[list[str], float]]:
    """Commands, and about how long each takes."""
    dataset = str(photos)
    return {
        "generate": (GENERATE, 12.0),
        "demo": (["demo", "--number", "1", "--out", "out"], 75.0),
        "up": (["local", "up", "--port", "0", "--state", "state"], 25.0),
        "train": (["inspect", "train", "--dataset", dataset, "--out", "out/model.tar.gz"], 15.0),
        "synthesize": (
            [
                "images",
                "synthesize",
                "--good",
                f"{dataset}/normal",
                "--defect",
                "scratch",
                "--count",
                "20",
                "--out",
                "out",
            ],
            8.0,
        ),
        "export": (["datasets", "export", dataset, "--format", "folders", "--out", "out"], 4.0),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["generate", "demo", "up", "train", "synthesize", "export"])
def test_a_command_that_is_interrupted_leaves_nothing_behind(folder, photos, command, number, report):
    arguments, seconds = commands(photos)[command]
    chance, codes = random.Random(command + number.name), []
    for moment in range(6):
        place = folder / str(moment)
        place.mkdir(mode=0o755)
        # From where the command has begun: before, nothing has to be cleared away.
        after = 1.5 + seconds * (moment + chance.random()) / 6

        code, said = interrupt(arguments, place, after, number)

        codes.append((round(after, 1), code))
        # A process that is done stays so, one that is not says by what it was ended: none is just killed.
        assert code in (0, 128 + number), (after, code, said)
        assert "Traceback" not in said, (after, said)
        assert not left(place), (after, left(place), said)
        assert not belonging(place), after
        unfinished = [path for path in place.rglob("*") if path.name.startswith((".unfinished-", ".generating-"))]
        assert not unfinished, after
        if (model := place / "out" / "model.tar.gz").exists():
            load_model(model)
        for manifest in place.glob("out/*/dataset.json"):
            json.loads(manifest.read_text(encoding="utf-8"))
        shutil.rmtree(place)
    report["codes"] = codes
