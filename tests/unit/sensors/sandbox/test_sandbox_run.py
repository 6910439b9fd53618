"""Honest scripts run, and what they leave is looked at before it is taken."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sandbox_world import SMALL

import defectory
from defectory.errors import InputError
from defectory.sensors.sandbox import Limits, detect_layers, output, run_script, runner, users

FREEFORM = '''
"""Hourly data of a pump, the way a model writes it."""
from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

logging.basicConfig(level=logging.INFO)


@dataclass
class Pump:
    speed: float = 50.0

    def simulate(self, index: pd.DatetimeIndex) -> pd.DataFrame:
        rng = np.random.default_rng(1)
        return pd.DataFrame({"Timestamp": index, "Speed": self.speed + rng.normal(0, 1, len(index))})


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    folder = arguments.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    frame = Pump().simulate(pd.date_range("2025-01-01", periods=100, freq="h"))
    frame.to_csv(folder / "data.csv", index=False)
    frame.to_parquet("data.parquet")
    logging.info("wrote %d rows", len(frame))


if __name__ == "__main__":
    main()
'''
LIBRARY = """
from defectory.sensors.signals import Machine


def main():
    machine = Machine("Pump", year=2025, seed=7)
    machine.signal("Speed", machine.on * 50.0, unit="rpm", kind="speed", low=0, high=100)
    machine.write(".")


if __name__ == "__main__":
    main()
"""
POLARS = """
import polars as pl


def main():
    pl.DataFrame({"a": range(1000)}).write_parquet("data.parquet")
    pl.scan_parquet("data.parquet").filter(pl.col("a") > 500).sink_csv("data.csv")
    print(pl.read_csv("data.csv").height)


main()
"""


@pytest.mark.parametrize("script", [FREEFORM, LIBRARY, POLARS], ids=["pandas", "library", "polars"])
def test_an_honest_script_succeeds(script: str, tmp_path: Path) -> None:
    result = run_script(script, tmp_path / "new" / "out", outer_wall=True)

    assert result.ok, result.reason
    assert {"data.csv", "data.parquet"} <= {file.name for file in result.files}
    assert all(file.parent == tmp_path / "new" / "out" and file.stat().st_size for file in result.files)
    assert result.layers == detect_layers()


def test_a_script_that_breaks_the_policy_is_not_run(tmp_path: Path) -> None:
    result = run_script("import os\nopen('x', 'w').close()\ndef main(): pass\n", tmp_path)

    assert not result.ok
    assert "line 1" in result.reason
    assert result.layers == ()
    assert list(tmp_path.iterdir()) == []


def test_the_script_is_the_main_program_of_a_clean_process(execute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("HOME", "/home/somebody")
    source = """
        import os, stat, sys, __main__
        print([__name__, __file__, sys.argv, os.listdir(), sys.stdin.read(), os.getcwd() == os.environ["HOME"]])
        print(sorted(name for name in vars(__main__) if not name.startswith("__")))
        print(*os.environ)
        opened = []
        for number in range(3, 256):
            try:
                kind = os.fstat(number).st_mode
            except OSError:
                continue
            if not stat.S_ISDIR(kind):
                opened.append(number)
        print(opened)
    """
    result = execute(textwrap.dedent(source))

    program, names, environment, descriptors = result.stdout.splitlines()
    assert program == "['__main__', 'generator.py', ['generator.py'], [], '', True]"
    assert names == "['os', 'stat', 'sys']"
    assert "AWS" not in environment
    assert descriptors == "[]"


def test_the_same_script_writes_the_same_bytes(execute, tmp_path: Path) -> None:
    source = "open('order', 'w').write(' '.join({str(n) for n in range(99)}))"

    first = execute(source).files[0].read_bytes()
    assert execute(source).files[0].read_bytes() == first


def test_a_failing_script_shows_its_own_traceback_only(execute) -> None:
    result = execute("def main():\n    raise ValueError('the pump is dry')\n\nmain()\n")

    lines = [line for line in result.reason.splitlines() if line.strip("~^ ")]
    assert lines == [
        "failed: the script ended with exit code 1",
        "Traceback (most recent call last):",
        '  File "generator.py", line 4, in <module>',
        "    main()",
        '  File "generator.py", line 2, in main',
        "    raise ValueError('the pump is dry')",
        "ValueError: the pump is dry",
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise SystemExit('no luck')", "no luck"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os.abort()", "signal 6"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
        ("import signal; signal.raise_signal(40)", "signal 40"),
        ("pass", "wrote no file"),
        ("raise ValueError('x' * 10**5)", "xxx"),
    ],
)
def test_every_end_but_a_good_one_has_a_bounded_reason(source: str, reason: str, execute) -> None:
    result = execute(source)

    assert not result.ok
    assert reason in result.reason
    assert len(result.reason) < 3000
    assert result.files == ()


def test_a_process_of_another_architecture_is_ended(execute) -> None:
    source = """
        import ctypes, mmap, platform
        # int 0x80: the 32-bit table of x86; aarch64 has no such door, so there an ordinary call of an unknown kind.
        code = {"x86_64": "b814000000cd80c3", "aarch64": "c0035fd6"}[platform.machine()]
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(bytes.fromhex(code))
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        raise SystemExit("another architecture" if platform.machine() == "aarch64" else "alive")
    """
    result = execute(textwrap.dedent(source))

    assert "another architecture" in result.reason


def test_control_characters_do_not_reach_the_terminal(execute) -> None:
    result = execute("print('\\x1b[31mred\\x9b\\u202e\\tä\\n日本')\nopen('f', 'w').close()")

    assert result.stdout == "�[31mred��\tä\n日本\n"


def test_a_file_at_its_limit_is_not_taken_though_the_script_looks_away(execute) -> None:
    source = """
        f = open("f", "wb", buffering=0)
        try:
            while True:
                f.write(bytes(2**20))
        except OSError:
            print("looked away")
    """
    result = execute(textwrap.dedent(source))

    assert "looked away" in result.stdout
    assert not result.ok
    assert "limit of 4 MB" in result.reason


@pytest.mark.parametrize("name", ["ä.csv", ".hidden", "a b.csv", "$(touch x)", "-rf", "x" * 101, "line\nbreak"])
def test_only_plain_names_are_taken(name: str, execute) -> None:
    result = execute(f"open('data.csv', 'w').close(); open({name!r}, 'w').close()")

    assert not result.ok
    assert "not a plain file name" in result.reason
    assert "\n" not in result.reason


def test_only_regular_files_are_taken(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "good.csv").write_text("good")
    (folder / "link.csv").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", folder / "hard.csv")
    os.mkfifo(folder / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.csv"))
    (folder / "folder").mkdir()

    inventory = output.take_inventory(folder, Limits())

    assert inventory.names == ["good.csv"]
    assert inventory.folders == ["'folder'"]
    assert [problem.split()[0] for problem in inventory.problems] == [
        "'hard.csv'",
        "'link.csv'",
        "'pipe.csv'",
        "'socket.csv'",
    ]


@pytest.mark.parametrize("name", ["link.csv", "hard.csv", "pipe.csv"])
def test_what_has_become_another_kind_of_file_is_not_handed_over(name: str, tmp_path: Path) -> None:
    folder, target = tmp_path / "work", tmp_path / "out"
    folder.mkdir()
    target.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", folder / "hard.csv")
    os.mkfifo(folder / "pipe.csv")

    with pytest.raises(OSError):
        output.hand_over(folder, [name], target)

    assert list(target.iterdir()) == []


@pytest.mark.parametrize("same_disk", [True, False])
def test_files_are_handed_over_and_replace_older_ones(
    same_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, target = tmp_path / "work", tmp_path / "out"
    folder.mkdir()
    target.mkdir()
    (folder / "data.csv").write_text("new")
    (folder / "data.csv").chmod(0o6777)
    (tmp_path / "elsewhere").write_text("untouched")
    (target / "data.csv").symlink_to(tmp_path / "elsewhere")
    if not same_disk:

        def refuse(*_args: object, **_options: object) -> None:
            raise OSError(errno.EXDEV, "another disk")

        monkeypatch.setattr(output.os, "rename", refuse)

    files = output.hand_over(folder, ["data.csv"], target)

    assert files == (target / "data.csv",)
    assert files[0].read_text() == "new"
    assert not files[0].is_symlink()
    assert files[0].stat().st_mode & 0o7777 == 0o644
    assert files[0].stat().st_uid == os.geteuid()
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert list(target.iterdir()) == [target / "data.csv"]


def test_runs_side_by_side_have_folders_and_users_of_their_own(tmp_path: Path) -> None:
    source = "import os; open('mine', 'w').write(f'{os.getuid()} {os.getcwd()}'); print(os.listdir())"

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: runner._execute(source, tmp_path / str(n), SMALL, outer_wall=True), range(4)))

    assert [result.reason for result in results] == [""] * 4
    assert {result.stdout for result in results} == {"['mine']\n"}
    users_and_folders = [result.files[0].read_text().split() for result in results]
    assert len({folder for _, folder in users_and_folders}) == 4
    assert len({user for user, _ in users_and_folders}) == (4 if "own-user" in detect_layers() else 1)


def test_nothing_remains_of_a_run(execute, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        descriptors = Path("/proc/self/fd")
        before = threading.active_count(), len(list(descriptors.iterdir()))

        assert execute("open('f', 'w').close()").ok
        assert not execute("1 / 0").ok

        assert list(Path(scratch).iterdir()) == []
        assert (threading.active_count(), len(list(descriptors.iterdir()))) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs scripts as another user")
def test_a_temporary_folder_that_the_scripts_user_cannot_walk_to_is_not_used(
    execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as private:
        monkeypatch.setattr(tempfile, "tempdir", private)
        result = execute("from pathlib import Path; (Path(__file__).resolve().parent / 'f').touch()")

    assert result.ok, result.reason


def test_a_script_ends_with_its_parent(tmp_path: Path) -> None:
    """When the process that runs a script is killed, the script does not live on."""
    parent = f"""
        import os
        from pathlib import Path
        from defectory.sensors.sandbox import Limits, process, runner
        source = "import os, time\\nprint(os.getpid(), flush=True)\\nopen('f', 'w').close()\\ntime.sleep(60)"
        real = process._read
        def read(descriptor, output, limit):
            alive = real(descriptor, output, limit)
            if output:
                print(output.decode(), flush=True)
                os.kill(os.getpid(), 9)
            return alive
        process._read = read
        runner._execute(source, Path({str(tmp_path / "out")!r}), Limits(), outer_wall=True)
    """
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        started = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(parent)],
            env={"PYTHONPATH": str(Path(defectory.__file__).parents[1]), "TMPDIR": scratch},
            capture_output=True,
            text=True,
            check=False,
        )

    assert started.returncode == -9, started.stderr
    child = int(started.stdout.split()[0])
    gone = threading.Event()
    for _ in range(200):
        try:
            state = users._status(child, "State")
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        gone.wait(0.01)
    pytest.fail(f"process {child} lives on")


@pytest.mark.parametrize("bad", [0, -1, 1.5, "many", True, None])
def test_limits_are_whole_numbers_above_zero(bad: object) -> None:
    with pytest.raises(InputError, match=r"limits\.files"):
        Limits(files=bad)  # type: ignore[arg-type]
