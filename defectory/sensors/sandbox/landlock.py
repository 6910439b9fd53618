"""Landlock: the kernel's own list of which files, ports and processes this process may still reach.

Reference: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from defectory.sensors.sandbox import kernel

# The three calls have the same numbers on every architecture that has Landlock.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_MAKE_REG = 1 << 8
_TRUNCATE = 1 << 14

_ACCESS_OF_ABI_1 = (1 << 13) - 1
_REFER = 1 << 13
_IOCTL_DEV = 1 << 15
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def abi() -> int:
    """Version of the kernel's Landlock interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def handled_access(version: int) -> tuple[int, int, int]:
    """Everything ABI ``version`` can forbid: rights on files, on TCP ports, and scopes of sockets and signals."""
    files = _ACCESS_OF_ABI_1
    if version >= 2:
        files |= _REFER
    if version >= 3:
        files |= _TRUNCATE
    if version >= 5:
        files |= _IOCTL_DEV
    return files, _BIND_AND_CONNECT_TCP if version >= 4 else 0, _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0


def restrict(readable: Iterable[Path], writable: Path) -> int:
    """Forbid this process, for good, everything but reading ``readable`` and files directly in ``writable``.

    In ``writable`` regular files may be made, written and read; they may not be removed or renamed, because a file
    without a name would escape the disk quota.  Paths of ``readable`` that do not exist are left out.  Needs
    ``no_new_privs``.  Returns the ABI version in force.
    """
    version = abi()
    files, ports, scopes = handled_access(version)
    attributes = struct.pack("=QQQ", files, ports, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = kernel.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        _allow(ruleset, Path("/dev/null"), _READ_FILE | _WRITE_FILE | (_TRUNCATE & files))
        _allow(ruleset, writable, _READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_REG | (_TRUNCATE & files))
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        anchor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(anchor).st_mode):
            access &= _READ_FILE | _WRITE_FILE | _TRUNCATE
        kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, anchor), 0)
    finally:
        os.close(anchor)
