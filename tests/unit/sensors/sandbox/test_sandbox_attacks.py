"""Nothing that a hostile script tries succeeds.

What could fail for a reason of its own is first shown to work where nothing stops it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from sandbox_attacks import (
    BOMBS,
    DAMAGING,
    DAMAGING_WITHOUT_CONTROL,
    PROCESSOR_BOMBS,
    SIGNALLING,
    STEALING,
    STEALING_BY_LIBRARIES,
    STEALING_WITHOUT_CONTROL,
    TIME_BOMBS,
    all_in_one,
)
from sandbox_world import SMALL, TOKEN, World, lesser_modes, texts

import defectory
from defectory.sensors.sandbox import Limits, layers

every_mode = pytest.mark.parametrize("mode", [None, *lesser_modes()], ids=str, indirect=True)


def named(attacks: dict) -> dict:
    return {"argvalues": list(attacks.values()), "ids": list(attacks)}


@pytest.mark.parametrize("attack", **named(STEALING))
def test_an_attack_for_the_token_works_where_nothing_stops_it(attack: str, unguarded_world: World, run_plainly) -> None:
    assert TOKEN in run_plainly(unguarded_world.constants() + attack)


def test_libraries_get_the_token_where_nothing_stops_them(unguarded_world: World, run_plainly) -> None:
    got = run_plainly(unguarded_world.constants() + all_in_one(STEALING_BY_LIBRARIES))

    assert got.count(TOKEN) >= len(STEALING_BY_LIBRARIES), got


@pytest.mark.parametrize("attack", **named(STEALING | STEALING_WITHOUT_CONTROL))
def test_no_script_gets_the_token(attack: str, world: World, execute) -> None:
    result = execute(world.constants() + attack)

    assert TOKEN not in result.stdout + result.reason + texts(result.files)


@every_mode
def test_no_script_gets_the_token_by_trying_everything(world: World, execute) -> None:
    result = execute(world.constants() + all_in_one(STEALING | STEALING_BY_LIBRARIES | STEALING_WITHOUT_CONTROL))

    assert "tried all" in result.stdout
    assert TOKEN not in result.stdout + result.reason + texts(result.files)


@pytest.mark.parametrize("attack", **named(DAMAGING))
def test_an_attack_on_files_works_where_nothing_stops_it(attack: str, unguarded_world: World, run_plainly) -> None:
    before = unguarded_world.snapshot()
    run_plainly(unguarded_world.constants() + attack)

    assert unguarded_world.snapshot() != before


@pytest.mark.parametrize("attack", **named(DAMAGING | DAMAGING_WITHOUT_CONTROL))
def test_no_script_changes_anything_around_it(attack: str, world: World, execute) -> None:
    before = world.snapshot()
    execute(world.constants() + attack)

    assert world.snapshot() == before


@every_mode
def test_no_script_changes_anything_by_trying_everything(world: World, execute) -> None:
    before = world.snapshot()
    result = execute(world.constants() + all_in_one(DAMAGING | DAMAGING_WITHOUT_CONTROL | SIGNALLING))

    assert "tried all" in result.stdout
    assert world.snapshot() == before


@pytest.mark.parametrize("attack", **named(SIGNALLING))
def test_no_script_signals_its_parent(attack: str, world: World, execute) -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGUSR1, lambda number, _frame: received.append(number))
    try:
        execute(world.constants() + attack)
    finally:
        signal.signal(signal.SIGUSR1, previous)

    assert received == []


READ_ENVIRONMENTS = """
import ctypes, os
print(dict(os.environ))
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(getenv(b"AWS_SECRET_ACCESS_KEY"))
for process in ("self", os.getppid(), 1):
    for file in ("environ", "maps", "cmdline"):
        try:
            print(open(f"/proc/{process}/{file}", "rb").read().replace(b"\\0", b" "))
        except OSError as error:
            print(error)
for descriptor in range(256):
    try:
        print(os.pread(descriptor, 4096, 0))
    except OSError:
        pass
"""


@every_mode
@pytest.mark.parametrize("boxed", [False, True], ids=["unstopped", "in the sandbox"])
def test_credentials_of_the_parent_stay_with_it(boxed: bool, mode: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(TOKEN)
    parent = f"""
        import os, subprocess, sys
        from pathlib import Path
        from defectory.sensors.sandbox import layers, runner, Limits
        layers.detect_layers = lambda: {mode!r}
        os.set_inheritable(os.open("secret", os.O_RDONLY), True)
        source = sys.argv[1]
        if {boxed}:
            print(runner._execute(source, Path("out"), Limits(), outer_wall=True))
        else:
            subprocess.run([sys.executable, "-c", source], close_fds=False)
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(parent), READ_ENVIRONMENTS],
        cwd=tmp_path,
        env={"AWS_SECRET_ACCESS_KEY": TOKEN, "PYTHONPATH": str(Path(defectory.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "PATH" in process.stdout or not boxed
    assert (TOKEN in process.stdout) is not boxed


@every_mode
def test_system_secrets_and_the_repository_stay_unread(mode: tuple[str, ...], execute) -> None:
    files = [Path("/etc/shadow")]
    if layers.fences_files(mode):
        files += [Path(__file__), Path("/etc/passwd"), Path("/etc/hostname")]
    for file in files:
        source = f"""
            import os
            try:
                print("READ", open({str(file)!r}).read())
            except OSError as error:
                print(type(error).__name__)
            try:
                print("LISTED" if {file.name!r} in os.listdir({str(file.parent)!r}) else "hidden")
            except OSError as error:
                print(type(error).__name__)
        """
        result = execute(textwrap.dedent(source))

        assert "READ" not in result.stdout
        assert "Error" in result.stdout
        assert "LISTED" not in result.stdout or not layers.fences_files(mode)


@every_mode
def test_libraries_stay_as_they_are(mode: tuple[str, ...], execute) -> None:
    source = """
        import os, sys
        import defectory.sensors.signals, numpy
        tried = 0
        for module in (defectory.sensors.signals, numpy, os):
            folder = os.path.dirname(os.path.realpath(module.__file__))
            for path, mode in ((module.__file__, "r+"), (folder + "/planted.py", "w")):
                tried += 1
                try:
                    open(path, mode).close()
                    print("WRITABLE", path)
                except OSError:
                    pass
            try:
                os.unlink(module.__file__)
                print("WRITABLE", path)
            except OSError:
                pass
        numpy.mean = lambda _: "patched"
        defectory.sensors.signals.Machine = None
        __builtins__.len = lambda _: 42
        print("tried", tried, numpy.mean([1, 3]))
    """
    result = execute(textwrap.dedent(source))

    assert "tried 6 patched" in result.stdout
    assert "WRITABLE" not in result.stdout

    import numpy

    again = execute(
        "import numpy, defectory.sensors.signals as s; print(numpy.mean([1, 3]), s.Machine is None, len([]))"
    )
    assert "2.0 False 0" in again.stdout
    assert numpy.mean([1, 3]) == 2


@pytest.mark.parametrize(("bomb", "limit"), **named(BOMBS))
def test_a_bomb_meets_its_limit(bomb: str, limit: str, execute, tmp_path: Path) -> None:
    result = execute(bomb)

    assert not result.ok
    assert limit in result.reason
    assert len(result.reason) < 3000
    assert len(result.stdout) <= SMALL.output_kb * 1024
    assert result.files == ()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("bomb", "limit"), **named(TIME_BOMBS))
def test_a_script_that_does_not_end_is_ended(bomb: str, limit: str, execute) -> None:
    result = execute(bomb, Limits(wall_seconds=1))

    assert not result.ok
    assert limit in result.reason


@pytest.mark.parametrize("bomb", **named(PROCESSOR_BOMBS))
def test_a_script_that_computes_forever_is_ended(bomb: str, execute) -> None:
    result = execute(bomb, Limits(cpu_seconds=1, wall_seconds=60))

    assert not result.ok
    assert "more than 1 seconds of processor time" in result.reason


READ_EVERYTHING = "-all,+dac_read_search"
BECOME_PLAIN = {
    # One who may read everything, so that an interpreter in /root can be found; the script may not.
    "user": f"setpriv --reuid=54321 --regid=54321 --clear-groups"
    f" --inh-caps={READ_EVERYTHING} --ambient-caps={READ_EVERYTHING}",
    # One who is root outside, and so is let into /root without any capability: namespaces can be made from there.
    "user in a namespace": "unshare --user --map-user=54321 --map-group=54321",
}


def can_become(command: str) -> bool:
    tool = command.split()[0]
    return os.geteuid() == 0 and bool(shutil.which(tool)) and not subprocess.run([*command.split(), "true"]).returncode


@pytest.mark.parametrize(
    "become",
    [
        pytest.param(
            command, id=name, marks=pytest.mark.skipif(not can_become(command), reason="needs root and the tool")
        )
        for name, command in BECOME_PLAIN.items()
    ],
)
def test_a_plain_user_is_as_safe(become: str) -> None:
    """The broadest tests again as an ordinary user."""
    here = Path(__file__)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o777)
        options = f"-q -x -p no:cacheprovider --confcutdir={here.parent} --basetemp={scratch}/pytest".split()
        chosen = "everything or credentials or secrets or (meets and threads)"
        process = subprocess.run(
            [*become.split(), sys.executable, "-m", "pytest", *options, "-k", chosen, str(here)],
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=Path(defectory.__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )

    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-1000:]
