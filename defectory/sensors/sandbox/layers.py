"""Which protections this machine offers, and which of them a script must have."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from defectory.errors import InputError, SandboxError
from defectory.sensors.sandbox import landlock, seccomp, users
from defectory.unwinding import temporary_folder

OUTER_WALL_VARIABLE = "DEFECTORY_SANDBOX_OUTER_WALL"
CHILD = Path(__file__).with_name("child.py")
# Not -I, which would ignore the PYTHONHASHSEED that makes runs repeatable; the environment is the sandbox's own anyway.
PYTHON = (sys.executable, "-s", "-P", "-B")

RLIMITS, OWN_USER, LANDLOCK, NAMESPACES, SECCOMP = "rlimits", "own-user", "landlock", "namespaces", "seccomp"

_REMEDIES = {
    "landlock or namespaces": "use Linux 5.13 or later with landlock in /sys/kernel/security/lsm, "
    "or let users make user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)",
    SECCOMP: "use Linux 4.14 or later on x86-64 or aarch64 with CONFIG_SECCOMP_FILTER",
    OWN_USER: "run as root with the capabilities chown, dac_override, fowner, kill, setgid, setuid",
}


def detect_layers() -> tuple[str, ...]:
    """Name the protections this process can put on a script: ``("rlimits", "own-user", "landlock:7", "seccomp")``, say.

    Namespaces are tried, and named, only where Landlock is missing.
    """
    layers = [RLIMITS]
    if users.available():
        layers.append(OWN_USER)
    if version := landlock.abi():
        layers.append(f"{LANDLOCK}:{version}")
    elif _can_make_namespaces():
        layers.append(NAMESPACES)
    if seccomp.available():
        layers.append(SECCOMP)
    return tuple(layers)


def missing_layers(available: tuple[str, ...], *, outer_wall: bool) -> tuple[str, ...]:
    """What a model's script needs beyond ``available``: files and system calls fenced in by the kernel.

    Behind an outer wall (a container and a role of its own that reach nothing of value) a user of its own does in place
    of the file fence.
    """
    kinds = {layer.partition(":")[0] for layer in available}
    missing = [] if SECCOMP in kinds else [SECCOMP]
    if fences_files(available) or (outer_wall and OWN_USER in kinds):
        return tuple(missing)
    return (*missing, OWN_USER if outer_wall else "landlock or namespaces")


def fences_files(layers: tuple[str, ...]) -> bool:
    """Whether ``layers`` keep a script from all files but its own."""
    return any(layer.partition(":")[0] in (LANDLOCK, NAMESPACES) for layer in layers)


def require_layers(available: tuple[str, ...], *, trusted: bool, outer_wall: bool) -> tuple[str, ...]:
    """Warnings about missing layers for a trusted script.

    Raises:
        SandboxError: the script is not trusted and a layer is missing.
    """
    missing = missing_layers(available, outer_wall=outer_wall)
    if not missing:
        return ()
    names = " and ".join(missing)
    if trusted:
        return (f"The script ran without {names}; it is Defectory's own, a model's script would not have been run.",)
    remedies = "; ".join(f"for {layer}: {_REMEDIES[layer]}" for layer in missing)
    raise SandboxError(
        f"This machine lacks {names}, without which no script written by a model is run. "
        f"Use author catalogue, run in AWS, or {remedies}."
    )


def outer_wall_declared() -> bool:
    """Whether the environment says that a container of its own is around this process.

    Raises:
        InputError: the variable holds anything but ``container``.
    """
    value = os.environ.get(OUTER_WALL_VARIABLE, "")
    if value not in ("", "container"):
        raise InputError(OUTER_WALL_VARIABLE, "'container' or unset", value)
    return value == "container"


@functools.cache
def _can_make_namespaces() -> bool:
    if sys.platform != "linux":
        return False
    # Tried for real, in a process that ends at once: what the kernel's settings allow cannot be read anywhere.
    with temporary_folder("defectory-probe-") as folder:
        probe = subprocess.run(
            [*PYTHON, str(CHILD), str(folder)], stdin=subprocess.DEVNULL, capture_output=True, env={}, check=False
        )
    return probe.returncode == 0
