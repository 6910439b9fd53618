"""The ``defectory`` command: its groups of commands, and how errors become messages and exit codes."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from defectory import __version__
from defectory.cli import aws, datasets, demo, detect, doctor, images, inspect, local, sensors
from defectory.errors import DefectoryError, missing_extra
from defectory.unwinding import unwinding
from defectory.writing import disk_problem, unwritable

app = typer.Typer(
    name="defectory",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A factory of defects: realistic, labelled failure data for people who build inspection and monitoring.",
    epilog="Exit codes: 0 all well, 1 the work failed, 2 the input was bad, 130 or 143 interrupted.",
)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.add_typer(aws.app, name="aws")
app.add_typer(datasets.app, name="datasets")
app.add_typer(detect.app, name="detect")
app.add_typer(images.app, name="images")
app.add_typer(inspect.app, name="inspect")
app.add_typer(local.app, name="local")
app.add_typer(sensors.app, name="sensors")


def _show_version(asked_for: bool) -> None:
    if asked_for:
        typer.echo(f"defectory {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Runs before every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with exit code 0, 1 or 2, or 130 or 143 where it was interrupted."""
    try:
        # Whoever ends a command lets it stop its children and remove what is half done.
        with unwinding():
            app(args=arguments, prog_name="defectory")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except DefectoryError as error:
        _fail(error)
    except OSError as error:
        # Whoever writes tells of the place; this is for a disk that fills up beside it, as that of temporary files.
        if not disk_problem(error):
            raise
        _fail(unwritable(error, Path(error.filename or tempfile.gettempdir()), field="disk"))
    except ModuleNotFoundError as error:
        # A command imports what it needs when it runs; what belongs to an extra may not be installed.
        missing = missing_extra(error)
        if missing is None:
            raise
        _fail(missing)


def _fail(error: DefectoryError) -> NoReturn:
    typer.secho(f"{error.code}: {error}", err=True, fg=typer.colors.RED)
    sys.exit(error.exit_code)
