"""Namespaces: a file tree of its own with nothing in it but what a script needs, and no network.

What bubblewrap does, for kernels without Landlock.  Works for root, and for plain users where the kernel lets them make
user namespaces; needs Linux 5.12 (``mount_setattr``).  References: user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path

from defectory.sensors.sandbox import kernel

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_MOUNT_SETATTR = 442

_NEW_MOUNTS, _NEW_NAMES, _NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_RDONLY, _NOSUID, _NODEV = 1, 2, 4


def enter(readable: Iterable[Path], writable: Path) -> None:
    """Move this process, for good, into a file tree that holds ``readable`` (read-only) and ``writable`` alone.

    Every path keeps its place.  There is no ``/proc`` in it but what ``readable`` names.

    Raises:
        OSError: the kernel does not let this user make namespaces, or is too old.
    """
    _isolate()
    kernel.mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    root = writable.parent / "root"
    root.mkdir(mode=0o755)
    kernel.mount("none", str(root), "tmpfs", 0, "mode=755,size=1m")
    for path in (*readable, Path("/dev/null")):
        if path.exists():
            _bind(path, root, 0 if path == Path("/dev/null") else _RDONLY | _NOSUID | _NODEV)
    _bind(writable, root, _NOSUID | _NODEV)
    os.chdir(root)
    kernel.syscall(_PIVOT_ROOT[platform.machine()], b".", b".")
    kernel.unmount(".", _MNT_DETACH)
    os.chdir("/")
    _set_attributes(Path("/"), _RDONLY | _NOSUID | _NODEV, recursive=False)


def _isolate() -> None:
    """Leave the machine's mounts, network, names and IPC; a plain user first becomes root of a namespace of its own."""
    uid, gid = os.geteuid(), os.getegid()
    new = _NEW_MOUNTS | _NEW_NAMES | _NEW_IPC | _NEW_NETWORK
    unshare = _UNSHARE[platform.machine()]
    try:
        kernel.syscall(unshare, new)
    except PermissionError:
        if uid == 0:
            raise  # root of a user namespace of its own could not become the run's user: only id 0 is mapped
        kernel.syscall(unshare, new | _NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _bind(path: Path, root: Path, attributes: int) -> None:
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    kernel.mount(str(path), str(target), "", _MS_BIND | _MS_REC)
    if attributes:
        _set_attributes(target, attributes, recursive=True)


def _set_attributes(path: Path, attributes: int, *, recursive: bool) -> None:
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    kernel.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, request, len(request))
