"""seccomp: a list of the system calls a script may make; every other one fails.

The filter is a classic BPF program over ``struct seccomp_data``.  Reference: seccomp(2).  Numbers are those of the
kernel's ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from dataclasses import dataclass
from errno import ENOSYS, EPERM

from defectory.sensors.sandbox import kernel

# fmt: off
# name: (number on x86-64, number on aarch64).  Not here, so refused: sockets, fork, execve, kill, ptrace, other
# processes' memory, mounts, namespaces, mkdir, mknod, links, chmod, chown, utimes, extended attributes, memfd, shared
# memory, io_uring, bpf, keys; unlink and rename too, because a file without a name would escape the disk quota; and
# fallocate, because it takes a disk faster than anyone can watch.
_NUMBERS: dict[str, tuple[int, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286), "pwritev2": (328, 287),
    "lseek": (8, 62),
    "open": (2, None), "openat": (257, 56), "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, None),
    "lstat": (6, None), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "getdents64": (217, 61), "readlink": (89, None), "readlinkat": (267, 78), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "statfs": (137, 43), "fstatfs": (138, 44),
    "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83),
    "sync_file_range": (277, 84), "fadvise64": (221, 223), "copy_file_range": (326, 285), "sendfile": (40, 71),
    "umask": (95, 166), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "pipe": (22, None),
    "pipe2": (293, 59), "fcntl": (72, 25), "ioctl": (16, 29), "cachestat": (451, 451),
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "madvise": (28, 233),
    "mincore": (27, 232), "brk": (12, 214), "membarrier": (324, 283), "get_mempolicy": (239, 236),
    "futex": (202, 98), "clone": (56, 220), "set_robust_list": (273, 99), "rseq": (334, 293), "exit": (60, 93),
    "exit_group": (231, 94), "restart_syscall": (219, 128), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "tgkill": (234, 131), "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102),
    "select": (23, None), "pselect6": (270, 72), "poll": (7, None), "ppoll": (271, 73), "epoll_create": (213, None),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    "getrlimit": (97, 163), "prlimit64": (302, 261), "sysinfo": (99, 179), "uname": (63, 160), "getcpu": (309, 168),
    "getrandom": (318, 278), "prctl": (157, 167),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture the filter knows: its audit number, the number of seccomp(2), its column of the table."""

    audit: int
    seccomp: int
    column: int


MACHINES = {
    "x86_64": Architecture(0xC000003E, 317, 0),
    "aarch64": Architecture(0xC00000B7, 277, 1),
}

_CLONE3 = 435  # the same on both
_X32 = 0x40000000  # system calls of the x32 ABI have numbers from here on, under x86-64's audit number
_FIRST_COMMON_NUMBER = 424  # from here on all architectures share numbers, and libraries expect ENOSYS of old kernels

_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACES = 0x7E020000
_WHOLE = 0xFFFFFFFF
_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
_O_TMPFILE = 0o20000000  # the kernel's own bit; os.O_TMPFILE joins it with O_DIRECTORY
_TCGETS, _TIOCGWINSZ, _FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX = 0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41

_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _GET_ACTION_AVAIL = 22, 2, 2


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds when ``argument & mask`` is one of ``values`` (low 32 bits, which is all the kernel looks at here)."""

    argument: int
    mask: int
    values: tuple[int, ...]


def conditions(pid: int) -> dict[str, Condition]:
    """System calls that process ``pid`` may make with some arguments only."""
    # Opening with O_RDONLY | O_TRUNC empties a file that Landlock before ABI 3 lets a script read.
    opening = tuple(mode | truncate for mode in (os.O_WRONLY, os.O_RDWR) for truncate in (0, _O_TRUNC))
    open_mask = _O_ACCMODE | _O_TRUNC | _O_TMPFILE
    return {
        "clone": Condition(0, _CLONE_THREAD | _CLONE_NEW_NAMESPACES, (_CLONE_THREAD,)),
        "open": Condition(1, open_mask, (os.O_RDONLY, *opening)),
        "openat": Condition(2, open_mask, (os.O_RDONLY, *opening)),
        "prlimit64": Condition(0, _WHOLE, (0, pid)),
        "tgkill": Condition(0, _WHOLE, (pid,)),
        # F_SETOWN and F_SETSIG are missing: with O_ASYNC they send signals to other processes.
        "fcntl": Condition(1, _WHOLE, (_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC)),
        "ioctl": Condition(1, _WHOLE, (_TCGETS, _TIOCGWINSZ, _FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX)),
        "prctl": Condition(0, _WHOLE, (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),
    }


def available() -> bool:
    """Whether this kernel filters system calls and this module knows the machine's."""
    machine = MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or struct.calcsize("P") != 8:
        return False
    try:
        kernel.syscall(machine.seccomp, _GET_ACTION_AVAIL, 0, struct.pack("=I", _KILL_PROCESS))
    except OSError:
        return False
    return True


def program(machine: Architecture, pid: int) -> bytes:
    """The filter for process ``pid`` on ``machine``: instructions of 8 bytes each.

    Listed calls pass, others fail with EPERM (ENOSYS for new ones, so that libraries fall back to older calls); a call
    of another architecture's table ends the process.
    """
    code = [
        _instruction(_LOAD, _ARCH_AT),
        _instruction(_IF_EQUAL, machine.audit, 1, 0),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_AT),
        _instruction(_IF_AT_LEAST, _X32, 0, 1),
        _instruction(_RETURN, _KILL_PROCESS),
    ]
    special = conditions(pid)
    for name, numbers in _NUMBERS.items():
        number = numbers[machine.column]
        if number is None:
            continue
        verdict = [_instruction(_RETURN, _ALLOW)] if name not in special else _checked(special[name])
        code += [_instruction(_IF_EQUAL, number, 0, len(verdict)), *verdict]
    code += [
        _instruction(_IF_AT_LEAST, _FIRST_COMMON_NUMBER, 0, 1),
        _instruction(_RETURN, _ERRNO | ENOSYS),
        _instruction(_RETURN, _ERRNO | EPERM),
    ]
    return b"".join(code)


def install() -> None:
    """Put the filter on this process, for good.  Needs ``no_new_privs`` and a single thread."""
    instructions = program(MACHINES[platform.machine()], os.getpid())
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    header = struct.pack("=HxxxxxxQ", len(instructions) // 8, ctypes.addressof(buffer))
    kernel.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _checked(condition: Condition) -> list[bytes]:
    code = [_instruction(_LOAD, _ARGUMENTS_AT + 8 * condition.argument)]
    if condition.mask != _WHOLE:
        code.append(_instruction(_AND, condition.mask))
    for value in condition.values:
        code += [_instruction(_IF_EQUAL, value, 0, 1), _instruction(_RETURN, _ALLOW)]
    return [*code, _instruction(_RETURN, _ERRNO | EPERM)]
