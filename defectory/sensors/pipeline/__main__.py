"""``python -m defectory.sensors.pipeline <action>``: run one action of the pipeline as its build project does.

Its settings come from the environment: ``REQUEST_USER_ID`` and ``REQUEST_ID`` name the request,
``CODEBUILD_SRC_DIR_<artifact>`` the folders of the input artifacts; output artifacts go to
``build/`` in the working folder.  The exit code tells whether the action could do its
work, not whether every machine succeeded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from defectory.errors import DefectoryError, InputError
from defectory.unwinding import unwinding

if TYPE_CHECKING:
    from defectory.sensors.authors import Author

# Each action imports its own module when it is called, so that none loads what its role may not use.
BUILD = Path("build")


def setting(name: str) -> str:
    """An environment variable that the action cannot do without."""
    value = os.environ.get(name, "")
    if not value:
        raise InputError(name, "set in the environment of this action")
    return value


def artifact(name: str) -> Path:
    """The folder of an input artifact."""
    return Path(setting(f"CODEBUILD_SRC_DIR_{name}"))


def write() -> None:
    """Write the scripts of a request."""
    from defectory.sensors.pipeline import writing
    from defectory.sensors.service.requests_table import RequestsTable

    table = RequestsTable(setting("REQUESTS_TABLE"))
    with _author() as author:
        writing.write(table, author, setting("REQUEST_USER_ID"), setting("REQUEST_ID"), BUILD / "scripts")


def run() -> None:
    """Run the scripts that Write made."""
    _run(artifact("Scripts"))


def repair() -> None:
    """Correct the scripts that failed."""
    from defectory.sensors.pipeline import writing
    from defectory.sensors.service.requests_table import RequestsTable

    table = RequestsTable(setting("REQUESTS_TABLE"))
    with _author() as author:
        writing.repair(
            table,
            author,
            setting("REQUEST_USER_ID"),
            setting("REQUEST_ID"),
            scripts=artifact("Scripts"),
            failures=artifact("Failures"),
            out=BUILD / "scripts",
        )


def rerun() -> None:
    """Run the scripts that Repair made."""
    _run(artifact("RepairedScripts"))


def publish() -> None:
    """Publish the datasets and close the request."""
    from defectory.aws.alerts import Alerts
    from defectory.aws.embedded_metrics import DeploymentMetrics
    from defectory.sensors.pipeline import publishing
    from defectory.sensors.service.datasets_bucket import DatasetsBucket
    from defectory.sensors.service.requests_table import RequestsTable

    publishing.publish(
        RequestsTable(setting("REQUESTS_TABLE")),
        DatasetsBucket(setting("DATA_BUCKET")),
        Alerts(setting("ALERTS_TOPIC_ARN")),
        setting("REQUEST_USER_ID"),
        setting("REQUEST_ID"),
        rounds=(
            publishing.Round(artifact("Scripts"), artifact("Datasets")),
            publishing.Round(artifact("RepairedScripts"), artifact("RerunDatasets")),
        ),
        work=BUILD / "published",
        metrics=DeploymentMetrics.from_environment(),
    )


def _run(scripts: Path) -> None:
    from defectory.sensors.pipeline import running

    running.run(scripts, datasets=BUILD / "datasets", failures=BUILD / "failures", work=BUILD / "work")


@contextmanager
def _author() -> Iterator[Author]:
    """The author; what it spent in tokens is printed as metrics in the end, however the work ended."""
    from defectory.aws.embedded_metrics import DeploymentMetrics
    from defectory.aws.token_metrics import TokenMetrics
    from defectory.sensors.authors import create_author

    metrics = TokenMetrics(DeploymentMetrics.from_environment())
    try:
        yield create_author(
            setting("AUTHOR"),
            model_id=os.environ.get("MODEL_ID") or None,
            base_model_id=os.environ.get("BASE_MODEL_ID") or None,
            prompt_style=os.environ.get("PROMPT_STYLE") or "library",
            service_tier=os.environ.get("SERVICE_TIER") or "default",
            on_tokens=metrics.count,
        )
    finally:
        metrics.flush()


ACTIONS: dict[str, Callable[[], None]] = {action.__name__: action for action in (write, run, repair, rerun, publish)}


def main(arguments: list[str] | None = None) -> int:
    """Run the action that ``arguments`` name; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m defectory.sensors.pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=ACTIONS)
    action = parser.parse_args(arguments).action
    try:
        # A build that is stopped ends its workers, and they their scripts.
        with unwinding():
            ACTIONS[action]()
    except DefectoryError as error:
        print(f"{action}: {error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
