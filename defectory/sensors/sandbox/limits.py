"""What a sandboxed run may use, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from defectory.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; every one is a positive whole number.

    Attributes:
        wall_seconds: time on the clock.
        cpu_seconds: processor time of all threads together.
        memory_mb: address space.  Imports of numpy, pandas and polars reserve about 0.8 GB of it.
        disk_mb: all files of the folder together.
        file_mb: a single file.
        files: number of files in the folder.
        output_kb: what is printed, stdout and stderr together.
        threads: threads alive at the same time.
    """

    wall_seconds: int = 300
    cpu_seconds: int = 300
    memory_mb: int = 4096
    disk_mb: int = 1024
    file_mb: int = 512
    files: int = 32
    output_kb: int = 256
    threads: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"limits.{field.name}", "a whole number above 0", value)


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outcome of one run.

    Attributes:
        ok: the script ended by itself without an error, kept its limits and left only acceptable files.
        files: the accepted files, in the output folder, sorted by name; empty unless ``ok``.
        reason: why it is not ok; for a failed script the last lines it printed (its traceback).
        stdout: what it printed on stdout and stderr, without control characters.
        layers: the protections the run was under, such as ``landlock:7`` or ``seccomp``; empty when nothing ran.
        wall_seconds: time from start to end of the process.
        warnings: what the caller should tell its user, such as missing layers or ignored folders.
    """

    ok: bool
    files: tuple[Path, ...] = ()
    reason: str = ""
    stdout: str = ""
    layers: tuple[str, ...] = ()
    wall_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
