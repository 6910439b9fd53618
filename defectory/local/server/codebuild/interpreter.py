"""A build's own Python: it sees what is installed here, and keeps to itself what the build installs.

Builds ask pip for exact versions.  In AWS each has a container to itself; here they would change each other's packages
and the user's.
"""

from __future__ import annotations

import os
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("site-packages", "dist-packages")


def create(folder: Path) -> Path:
    """Make a virtual environment in ``folder``.

    Its pip, the one that is installed here or else Python's own, takes what is installed here for installed if the
    version is right, and else installs it in ``folder``, where it comes first.

    Returns:
        The folder of its programs, for the PATH.
    """
    # Other tools than venv, such as uv, make environments without.
    builder = venv.EnvBuilder(symlinks=os.name != "nt", with_pip=find_spec("pip") is None)
    builder.create(folder)
    context = builder.ensure_directories(folder)
    packages = next(path for path in folder.rglob("site-packages") if path.is_dir())
    installed = [path for path in sys.path if Path(path).name in _PACKAGES]
    (packages / "installed-here.pth").write_text("".join(f"{path}\n" for path in installed))
    return Path(context.bin_path)
