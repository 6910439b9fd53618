"""Starting: each upload that a message tells of is taken up once, however often it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from defectory.errors import InputError
from defectory.line.uploads import Upload, read_message


class ExecutionStarter(Protocol):
    """What works on an upload; False if it has taken up the name before."""

    def start(self, name: str, start_with: Mapping[str, Any]) -> bool:
        """Start an execution; False if the name has been used already."""


def start_batch(
    messages: Mapping[str, Any],
    machine: ExecutionStarter,
    logger: Logger,
    prepare: Callable[[Upload], None] | None = None,
) -> dict[str, Any]:
    """Start an execution for every upload of a batch of the queue's messages.

    Args:
        messages: the event that Lambda hands over.
        machine: see `start_executions`.
        logger: is told of each upload.
        prepare: see `start_executions`.

    Returns:
        The messages that could not be worked on, as Lambda takes them: the queue hands those out again.
    """
    failed = [message["messageId"] for message in messages["Records"] if not _start(message, machine, logger, prepare)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _start(
    message: Mapping[str, Any], machine: ExecutionStarter, logger: Logger, prepare: Callable[[Upload], None] | None
) -> bool:
    try:
        started = start_executions(message["body"], machine, prepare)
    # Whatever is wrong with one message, the others of its batch are not to suffer for it.
    except Exception:
        logger.exception("Message not worked on", extra={"message_id": message["messageId"]})
        return False
    for upload, new in started:
        logger.info(
            "Inspection started" if new else "Inspection known already",
            extra={"inspection_id": upload.inspection_id, "key": upload.key},
        )
    return True


def start_executions(
    body: str, machine: ExecutionStarter, prepare: Callable[[Upload], None] | None = None
) -> list[tuple[Upload, bool]]:
    """Start an execution for every upload of a message; with each, whether it was new.

    Args:
        body: of the message.
        machine: is started once for each upload.
        prepare: is called before; done again, it changes nothing.

    Raises:
        InputError: a record cannot be read; the others were started.
        ServiceError: an execution could not be started; done again, nothing is started twice.
    """
    started, errors = [], []
    for upload in read_message(body):
        if isinstance(upload, InputError):
            errors.append(upload)
            continue
        if prepare:
            prepare(upload)
        started.append((upload, machine.start(upload.execution_name, {"upload": upload.model_dump()})))
    if errors:
        raise errors[0]
    return started
