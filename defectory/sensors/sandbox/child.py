"""First steps of the sandboxed process: put every layer on itself, report them, then become the script.

Started as a file by ``process.py``, with its orders as JSON on stdin; the interpreter sees nothing of the script before
the last layer is on.  Given a folder as argument instead, it only tries whether it can make namespaces.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import json
import os
import resource
import signal
import site
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

SCRIPT_NAME = "generator.py"

_SANDBOX = "defectory.sensors.sandbox"
_SYSTEM_PATHS = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage/enabled",
)


def main() -> None:
    """Put on the walls that standard input asks for, and become the script; or try namespaces, if a folder is given."""
    package = Path(__file__).resolve().parents[2]
    _adopt(package)
    if len(sys.argv) > 1:
        _try_namespaces(Path(sys.argv[1]), package)
        return
    orders = json.load(sys.stdin.buffer)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    report: dict[str, Any]
    try:
        report = {"layers": _protect(orders, package)}
    except Exception as error:
        report = {"error": f"{type(error).__name__}: {error}"}
    os.write(orders["status_fd"], json.dumps(report).encode())
    os.close(orders["status_fd"])
    if "error" in report:
        sys.exit(1)
    for name in [name for name in sys.modules if name.startswith(_SANDBOX)]:
        del sys.modules[name]
    _become(orders["source"])


def readable_paths(package: Path) -> list[Path]:
    """What a script may read besides its own folder: interpreter, libraries, and ``package``, the defectory package."""
    interpreter = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    interpreter |= {*site.getsitepackages(), str(Path(sys.base_prefix, "lib")), str(package)}
    # A virtual environment may bring in the packages of another.
    interpreter |= {path for path in sys.path if Path(path).name == "site-packages"}
    return [Path(path) for path in (*_SYSTEM_PATHS, *sorted(interpreter))]


def _adopt(package: Path) -> None:
    """Make ``defectory`` importable though the folder around it will be unreadable, and its sandbox modules without
    ``sandbox/__init__.py``, which would load the parent's half."""
    spec = importlib.util.spec_from_file_location(
        "defectory", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["defectory"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["defectory"])
    sandbox = ModuleType(_SANDBOX)
    sandbox.__path__ = [str(package / "sensors" / "sandbox")]
    sys.modules[_SANDBOX] = sandbox


def _try_namespaces(folder: Path, package: Path) -> None:
    from defectory.sensors.sandbox import namespaces

    work = folder / "work"
    work.mkdir()
    namespaces.enter(readable_paths(package), work)


def _protect(orders: dict[str, Any], package: Path) -> list[str]:
    """Put the ordered layers on this process, and name those that are on.

    The order matters: what needs root or open paths comes first, seccomp, which forbids all of it, last.
    """
    from defectory.sensors.sandbox import kernel

    layers, uid, work = set(orders["layers"]), orders["uid"], Path(orders["work"])
    readable = readable_paths(package)
    active_layers = ["rlimits"]
    _limit(orders["rlimits"])
    if sys.platform == "linux":
        # When memory runs out, the kernel is to end the script rather than its parent; a courtesy, not a layer.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if "namespaces" in layers:
        from defectory.sensors.sandbox import namespaces

        namespaces.enter(readable, work)
        active_layers.append("namespaces")
    os.chdir(work)
    if "landlock" in layers:
        from defectory.sensors.sandbox import landlock

        active_layers.append(f"landlock:{landlock.restrict(readable, work)}")
    anchors = _anchors(package)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        active_layers.append("own-user")
    if sys.platform == "linux":
        kernel.drop_capabilities()
        # No core files, and no other process of the same user may look into this one.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        # Only now, because a change of user takes it back.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != orders["parent"]:
            raise ProcessLookupError("the process that started this run is gone")
    _rebase(anchors)
    if "seccomp" in layers:
        from defectory.sensors.sandbox import seccomp

        seccomp.install()
        active_layers.append("seccomp")
    return active_layers


def _limit(rlimits: dict[str, int]) -> None:
    for name, bound in rlimits.items():
        kind = getattr(resource, name)
        ceiling = resource.getrlimit(kind)[1]
        soft = bound if ceiling == resource.RLIM_INFINITY else min(bound, ceiling)
        # A second more for CPU time: at the soft limit SIGXCPU says what happened, at the hard one SIGKILL does not.
        hard = soft + 1 if name == "RLIMIT_CPU" and ceiling == resource.RLIM_INFINITY else soft
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            if sys.platform == "linux":
                raise
            # macOS refuses some, RLIMIT_AS among them; only trusted scripts run there.


def _anchors(package: Path) -> dict[str, int]:
    """Descriptors of all folders that modules come from, opened while this process may still walk to them.

    They give no rights to anything in those folders; but without Landlock a script may climb from them as far as the
    folders above are readable for everybody.
    """
    folders = {path for path in (*sys.path, str(package)) if Path(path).is_dir()}
    return {folder: os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY) for folder in folders}


def _rebase(anchors: dict[str, int]) -> None:
    """Reach module folders through their descriptors where this process may no longer walk to them (``/root``, say)."""
    moved = {}
    for folder, anchor in anchors.items():
        if os.access(folder, os.R_OK | os.X_OK):
            os.close(anchor)
            continue
        moved[folder] = f"/proc/self/fd/{anchor}"
        if not os.access(moved[folder], os.R_OK | os.X_OK):
            raise PermissionError(f"{folder} is unreadable for other users; run: chmod -R a+rX {folder}")

    def rebased(path: str) -> str:
        for folder in sorted(moved, key=len, reverse=True):
            if path == folder or path.startswith(f"{folder}/"):
                return moved[folder] + path[len(folder) :]
        return path

    sys.path[:] = map(rebased, sys.path)
    sys.path_importer_cache.clear()
    for module in list(sys.modules.values()):
        if isinstance(search := getattr(module, "__path__", None), list):
            search[:] = map(rebased, search)


def _become(source: str) -> None:
    """Run ``source`` as the program of this process; a traceback shows the script's own lines only."""
    module = ModuleType("__main__")
    module.__file__ = SCRIPT_NAME
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv = [SCRIPT_NAME]
    try:
        exec(compile(source, SCRIPT_NAME, "exec"), module.__dict__)
    except Exception as error:
        import linecache
        import traceback

        linecache.cache[SCRIPT_NAME] = (len(source), None, source.splitlines(keepends=True), SCRIPT_NAME)
        here = error.__traceback__
        traceback.print_exception(type(error), error, here.tb_next if here else None)
        sys.exit(1)


if __name__ == "__main__":
    main()
