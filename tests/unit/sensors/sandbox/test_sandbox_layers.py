"""Which layers a script needs, what happens where they are missing, and what each of them does."""

from __future__ import annotations

import os
import struct
import subprocess
import textwrap
from pathlib import Path

import pytest
from sandbox_world import lesser_modes

from defectory.errors import InputError, SandboxError
from defectory.sensors.sandbox import detect_layers, landlock, layers, process, run_script, seccomp, users

SCRIPT = "def main():\n    open('data.csv', 'w').close()\n\n\nmain()\n"
FENCED = ("rlimits", "landlock:7", "seccomp")


@pytest.mark.parametrize(
    ("available", "outer_wall", "missing"),
    [
        (FENCED, False, ()),
        (("rlimits", "namespaces", "seccomp"), False, ()),
        (FENCED, True, ()),
        (("rlimits", "own-user", "seccomp"), True, ()),
        (("rlimits", "own-user", "seccomp"), False, ("landlock or namespaces",)),
        (("rlimits", "own-user", "landlock:7"), False, ("seccomp",)),
        (("rlimits", "own-user"), True, ("seccomp",)),
        (("rlimits", "seccomp"), True, ("own-user",)),
        (("rlimits",), False, ("seccomp", "landlock or namespaces")),
    ],
)
def test_what_a_models_script_lacks(available: tuple[str, ...], outer_wall: bool, missing: tuple[str, ...]) -> None:
    assert layers.missing_layers(available, outer_wall=outer_wall) == missing


@pytest.mark.parametrize("available", [("rlimits",), ("rlimits", "seccomp"), ("rlimits", "landlock:7")])
def test_a_models_script_is_not_run_where_a_layer_is_missing(
    available: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(layers, "detect_layers", lambda: available)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))

    with pytest.raises(SandboxError) as caught:
        run_script(SCRIPT, tmp_path / "out")

    assert all(layer in str(caught.value) for layer in layers.missing_layers(available, outer_wall=False))
    assert "Linux" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("available", [("rlimits",), ("rlimits", "seccomp")])
def test_a_trusted_script_runs_with_a_warning(
    available: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(layers, "detect_layers", lambda: available)

    result = run_script(SCRIPT, tmp_path, trusted=True)

    assert result.ok, result.reason
    assert result.layers == available
    assert ["landlock or namespaces" in warning for warning in result.warnings] == [True]


def test_a_trusted_script_gets_all_layers_there_are(tmp_path: Path) -> None:
    result = run_script(SCRIPT, tmp_path, trusted=True)

    assert (result.layers, result.ok) == (detect_layers(), True)


def test_a_layer_that_does_not_hold_stops_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Detected is not enough: the child reports what it has really put on."""
    monkeypatch.setattr(layers, "detect_layers", lambda: ("rlimits", "landlock:99", "seccomp"))

    with pytest.raises(SandboxError, match=r"could not be set up.*landlock:99.*Nothing"):
        run_script(SCRIPT, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_that_does_not_start_stops_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "CHILD", tmp_path / "missing.py")

    with pytest.raises(SandboxError, match=r"missing\.py"):
        run_script(SCRIPT, tmp_path, outer_wall=True)


@pytest.mark.parametrize(("value", "declared"), [(None, False), ("", False), ("container", True)])
def test_the_outer_wall_is_declared_by_the_environment(
    value: str | None, declared: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(layers.OUTER_WALL_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(layers.OUTER_WALL_VARIABLE, value)
    monkeypatch.setattr(layers, "detect_layers", lambda: ("rlimits", "seccomp"))

    with pytest.raises(SandboxError, match="lacks own-user" if declared else "lacks landlock or namespaces"):
        run_script(SCRIPT, tmp_path)


def test_an_unknown_outer_wall_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(layers.OUTER_WALL_VARIABLE, "moat")

    with pytest.raises(InputError, match="moat"):
        run_script(SCRIPT, tmp_path)


@pytest.mark.parametrize("mode", lesser_modes(), ids="+".join, indirect=True)
def test_an_honest_script_runs_under_fewer_layers(mode: tuple[str, ...], tmp_path: Path) -> None:
    source = """
        import numpy as np
        import pandas as pd
        import polars as pl

        def main():
            pd.DataFrame({"a": np.arange(9)}).to_csv("data.csv")
            pl.read_csv("data.csv").write_parquet("data.parquet")

        main()
    """
    result = run_script(textwrap.dedent(source), tmp_path, outer_wall=True)

    assert (result.ok, result.layers) == (True, mode), result.reason
    assert [file.name for file in result.files] == ["data.csv", "data.parquet"]


needs_root = pytest.mark.skipif(not users.available(), reason="only root runs scripts as another user")


@needs_root
@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/var/tmp"])
def test_files_in_everybodys_folders_end_the_run_and_go(folder: str, execute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "detect_layers", lambda: ("rlimits", "own-user", "seccomp"))
    stray = Path(folder) / f"defectory-stray-{os.getpid()}"

    result = execute(f"open({str(stray)!r}, 'w').close(); open('data.csv', 'w').close()")

    assert not result.ok
    assert f"wrote outside its folder: '{stray}'" in result.reason
    assert not stray.exists()


@needs_root
def test_daemons_end_with_the_run(execute, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without seccomp, which only trusted scripts do without, a script can fork; still its processes end."""
    monkeypatch.setattr(layers, "detect_layers", lambda: ("rlimits", "own-user"))
    source = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.close(1); os.close(2)
                time.sleep(60)
            os._exit(0)
        os.wait()
        open("uid", "w").write(str(os.getuid()))
    """
    result = execute(textwrap.dedent(source), trusted=True)

    assert result.ok, result.reason
    assert users.processes_of(int(result.files[0].read_text())) == []


@needs_root
def test_leased_user_ids_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([1_500_000_001, 1_500_000_001, 0, 1_500_000_002])

    class Dice:
        def randrange(self, *_: int) -> int:
            return next(draws)

    monkeypatch.setattr(users.random, "SystemRandom", Dice)

    with users.leased_uid() as first, users.leased_uid() as second:
        # The second draw is taken by the first lease, the third belongs to root.
        assert (first, second) == (1_500_000_001, 1_500_000_002)


@needs_root
def test_running_out_of_user_ids_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_pool", lambda: (0, 1))

    with pytest.raises(SandboxError, match="no free user id"), users.leased_uid():
        pass


@pytest.mark.parametrize(
    ("version", "files", "ports", "scopes"),
    [
        (1, 13, 0, 0),
        (2, 14, 0, 0),
        (3, 15, 0, 0),
        (4, 15, 2, 0),
        (5, 16, 2, 0),
        (6, 16, 2, 2),
        (7, 16, 2, 2),
        (9, 16, 2, 2),
    ],
)
def test_landlock_forbids_all_that_its_version_can(version: int, files: int, ports: int, scopes: int) -> None:
    """Bits of include/uapi/linux/landlock.h: 13 rights, then REFER, TRUNCATE, two of TCP, IOCTL_DEV, two scopes."""
    assert landlock.handled_access(version) == ((1 << files) - 1, (1 << ports) - 1, (1 << scopes) - 1)


# What a script may never do, and some of what it must: numbers from the kernel's own tables, x86-64 and aarch64.
REFUSED = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "sendto": (44, 206),
    "socketpair": (53, 199),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unlinkat": (263, 35),
    "renameat2": (316, 276),
    "mkdirat": (258, 34),
    "mknodat": (259, 33),
    "symlinkat": (266, 36),
    "linkat": (265, 37),
    "fchmodat": (268, 53),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "mount": (165, 40),
    "umount2": (166, 39),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "mq_open": (240, 180),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "seccomp": (317, 277),
    "fallocate": (285, 47),
}
FALLING_BACK = {
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "openat2": (437, 437),
    "process_madvise": (440, 440),
    "mount_setattr": (442, 442),
    "landlock_restrict_self": (446, 446),
    "a call to come": (900, 900),
}
ALLOWED = {"read": (0, 63), "write": (1, 64), "mmap": (9, 222), "futex": (202, 98), "exit_group": (231, 94)}
PID = 4711
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

every_machine = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter for ``machine`` says: a small interpreter of classic BPF."""
    data = struct.pack("=IIQ6Q", number, AUDIT[machine] if audit is None else audit, 0, *(*arguments, *[0] * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", seccomp.program(seccomp.MACHINES[machine], PID)))
    accumulator = at = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x15:
            at += if_true if accumulator == value else if_false
        elif operation == 0x35:
            at += if_true if accumulator >= value else if_false
        else:
            assert operation == 0x06
            return value


@every_machine
def test_the_filter_lets_pass_what_computing_needs_and_nothing_else(machine: str) -> None:
    column = list(AUDIT).index(machine)

    assert {name: verdict(machine, numbers[column]) for name, numbers in REFUSED.items()} == dict.fromkeys(
        REFUSED, EPERM
    )
    assert {name: verdict(machine, n[column]) for name, n in FALLING_BACK.items()} == dict.fromkeys(
        FALLING_BACK, ENOSYS
    )
    assert {name: verdict(machine, numbers[column]) for name, numbers in ALLOWED.items()} == dict.fromkeys(
        ALLOWED, ALLOW
    )


@every_machine
def test_no_unlisted_number_passes(machine: str) -> None:
    listed = {numbers[seccomp.MACHINES[machine].column] for numbers in seccomp._NUMBERS.values()}

    passing = {number for number in range(1024) if verdict(machine, number) == ALLOW}

    assert passing <= listed


@every_machine
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    other = next(audit for name, audit in AUDIT.items() if name != machine)

    for audit in (other, 0x40000003, 0x40000028):  # i386 and 32-bit ARM
        assert verdict(machine, 0, audit=audit) == KILL
    assert verdict("x86_64", 0x40000000 + 1) == KILL  # x32


THREAD = 0x3D0F00  # the flags of pthread_create
RDONLY, WRONLY, RDWR, CREAT, TRUNC, TMPFILE, CLOEXEC = 0, 1, 2, 0o100, 0o1000, 0o20000000, 0o2000000


@every_machine
@pytest.mark.parametrize(
    ("numbers", "arguments", "expected"),
    [
        ((56, 220), (THREAD,), ALLOW),
        ((56, 220), (17,), EPERM),  # fork
        ((56, 220), (0x4111,), EPERM),  # vfork
        ((56, 220), (THREAD | 0x10000000,), EPERM),  # CLONE_NEWUSER
        ((56, 220), (THREAD | 0x00020000,), EPERM),  # CLONE_NEWNS
        ((257, 56), (0, 0, RDONLY | CLOEXEC), ALLOW),
        ((257, 56), (0, 0, WRONLY | CREAT | TRUNC), ALLOW),
        ((257, 56), (0, 0, RDWR | CREAT), ALLOW),
        ((257, 56), (0, 0, RDONLY | TRUNC), EPERM),
        ((257, 56), (0, 0, WRONLY | TMPFILE), EPERM),
        ((257, 56), (0, 0, 3), EPERM),
        ((302, 261), (0, 7), ALLOW),
        ((302, 261), (PID, 7), ALLOW),
        ((302, 261), (PID + 1, 7), EPERM),
        ((234, 131), (PID, PID, 6), ALLOW),
        ((234, 131), (PID - 1, PID - 1, 6), EPERM),
        ((72, 25), (0, 3), ALLOW),
        ((72, 25), (0, 8), EPERM),  # F_SETOWN
        ((72, 25), (0, 15), EPERM),  # F_SETOWN_EX
        ((72, 25), (0, 10), EPERM),  # F_SETSIG
        ((72, 25), (0, 1024), EPERM),  # F_SETLEASE
        ((16, 29), (0, 0x5401), ALLOW),
        ((16, 29), (0, 0x5412), EPERM),  # TIOCSTI
        ((157, 167), (15,), ALLOW),
        ((157, 167), (4,), EPERM),  # PR_SET_DUMPABLE
        ((157, 167), (22,), EPERM),  # PR_SET_SECCOMP
    ],
)
def test_arguments_decide_where_the_call_alone_cannot(
    machine: str, numbers: tuple[int, int], arguments: tuple[int, ...], expected: int
) -> None:
    assert verdict(machine, numbers[list(AUDIT).index(machine)], *arguments) == expected


@every_machine
def test_the_kernel_takes_the_program(machine: str) -> None:
    code = list(struct.iter_unpack("=HBBI", seccomp.program(seccomp.MACHINES[machine], PID)))

    assert len(code) <= 4096
    assert all(at + 1 + max(jumps) < len(code) for at, (_, *jumps, _) in enumerate(code) if max(jumps))
    assert code[-1][0] == 0x06  # a filter ends by returning


def test_seccomp_is_not_claimed_for_an_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")

    assert not seccomp.available()


def test_layers_are_named_with_what_the_kernel_gives() -> None:
    found = detect_layers()

    assert found[0] == "rlimits"
    assert (f"landlock:{landlock.abi()}" in found) is (landlock.abi() > 0)
    assert ("own-user" in found) is users.available()
    assert ("seccomp" in found) is seccomp.available()


def test_namespaces_are_tried_where_landlock_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)

    assert ("namespaces" in detect_layers()) is layers._can_make_namespaces()
    monkeypatch.setattr(layers, "_can_make_namespaces", lambda: False)
    assert not layers.fences_files(detect_layers())
