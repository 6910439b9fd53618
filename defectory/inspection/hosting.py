"""Running in SageMaker's containers: where a job finds and leaves things, and what is kept of a model.

model.tar.gz              what a training job hands over and an endpoint unpacks: a model bundle that also has
├── …                     the bundle's own files
└── code/                 what serves it
    ├── inference.py
    ├── defectory/
    └── packages/         the libraries, where they were built for the container
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from defectory.errors import DefectoryError, InputError

Options = TypeVar("Options", bound=BaseModel)
Choice = TypeVar("Choice", bound=str)

CODE = "code"
BACKBONE = "backbone.onnx"
# What is needed to serve; the rest of the source is for training.
SERVED = ("inference.py", "defectory", "packages")
# SageMaker shows this much of it.
FAILURE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The folders of a training job, as its environment variables ``SM_…`` name them.

    ``channels`` are its inputs, without ``source``: that brings the program itself into an isolated container.
    """

    model: Path
    output: Path
    checkpoints: Path
    channels: Mapping[str, Path]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> JobFolders:
        """The folders of the job that ``environ`` belongs to; SageMaker's own where it does not say."""
        return cls(
            model=Path(environ.get("SM_MODEL_DIR", "/opt/ml/model")),
            output=Path(environ.get("SM_OUTPUT_DIR", "/opt/ml/output")),
            checkpoints=Path(environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")),
            channels={
                name.removeprefix("SM_CHANNEL_").lower(): Path(value)
                for name, value in environ.items()
                if name.startswith("SM_CHANNEL_") and name != "SM_CHANNEL_SOURCE"
            },
        )

    def channel(self, name: str) -> Path:
        """The folder of an input.

        Raises:
            InputError: the job was started without it, or it is empty.
        """
        folder = self.channels.get(name)
        if folder is None or not folder.is_dir() or not any(folder.iterdir()):
            raise InputError(f"channel {name}", "a folder with files", fix="Check the S3 prefix the job was given.")
        return folder


def run_job(work: Callable[[JobFolders], None]) -> int:
    """Do a job's work; what stops it becomes the job's FailureReason.  Returns the exit code."""
    folders = JobFolders.of(os.environ)
    try:
        work(folders)
    except Exception as error:
        is_ours = isinstance(error, DefectoryError)
        reason = f"{error.code}: {error}" if isinstance(error, DefectoryError) else f"{type(error).__name__}: {error}"
        if not is_ours:
            traceback.print_exc()
        print(reason, file=sys.stderr)
        folders.output.mkdir(parents=True, exist_ok=True)
        (folders.output / "failure").write_text(reason[:FAILURE_LIMIT])
        return error.exit_code if isinstance(error, DefectoryError) else 1
    return 0


def parse_options(environ: Mapping[str, str], kind: type[Options]) -> Options:
    """Options of training from SM_HPS, the hyperparameters as JSON: as arguments, nested ones arrive mangled.

    Raises:
        InputError: "options" among them are not as ``kind`` says.
    """
    values = json.loads(environ.get("SM_HPS", "{}")).get("options", {})
    try:
        return kind.model_validate(json.loads(values) if isinstance(values, str) else values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(["options", *map(str, first["loc"])])
        raise InputError(field, f"as the training options say ({first['msg']})", first["input"]) from error
    except ValueError as error:
        raise InputError("options", f"JSON ({error})", values) from error


def parse_choice(environ: Mapping[str, str], name: str, choices: Sequence[Choice]) -> Choice:
    """A hyperparameter of SM_HPS that is one of ``choices``; the first of them where it is not there.

    Raises:
        InputError: it is none of them.
    """
    value = json.loads(environ.get("SM_HPS", "{}")).get(name, choices[0])
    if value not in choices:
        raise InputError(name, f"one of {', '.join(choices)}", value)
    return choices[choices.index(value)]


def write_hosted(files: Mapping[str, bytes], source: Path, model_dir: Path) -> None:
    """Lay a bundle's files out in ``model_dir`` with the code that serves it, taken from the folder ``source``.

    Args:
        files: the bundle's, by name.
        source: has what is ``SERVED``.
        model_dir: is made if it is not there.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (model_dir / name).write_bytes(content)
    for name in SERVED:
        part, target = source / name, model_dir / CODE / name
        if part.is_dir():
            shutil.copytree(part, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif part.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part, target)
