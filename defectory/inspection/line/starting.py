"""Starting: each upload that a message tells of is taken up once, however often it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from defectory.errors import InputError
from defectory.inspection.line.uploads import Upload, read_message


class ExecutionStarter(Protocol):
    """What works on an upload; False if it has taken up the name before."""

    def start(self, name: str, start_with: Mapping[str, Any]) -> bool:
        """Start an execution; False if the name has been used already."""


def start_inspections(body: str, machine: ExecutionStarter) -> list[tuple[Upload, bool]]:
    """Start an inspection for every upload of a message; with each, whether it was new.

    Raises:
        InputError: a record cannot be read; the others were started.
        ServiceError: an inspection could not be started; done again, nothing is started twice.
    """
    started, errors = [], []
    for upload in read_message(body):
        if isinstance(upload, InputError):
            errors.append(upload)
        else:
            started.append((upload, machine.start(upload.execution_name, {"upload": upload.model_dump()})))
    if errors:
        raise errors[0]
    return started
