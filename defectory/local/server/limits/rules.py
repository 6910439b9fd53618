"""Limits in a service's own words, which its model does not have.

Each is from the service's documentation of quotas and of the operation, as of November 2026; the words are AWS's where
somebody has reported them.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from defectory.local.server.limits.fault import LimitExceeded

Members = Mapping[str, Any]
Rule = Callable[[Members], None]

KIB = 1024
MIB = 1024 * KIB
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
FUNCTION_NAME, FUNCTION_LAYERS, FUNCTION_ENVIRONMENT = 64, 5, 4 * KIB
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html, without a topic's attribute MaximumMessageSize
SUBJECT, TOPIC_NAME, PUBLICATIONS = 100, 256, 256 * KIB
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-quotas.html
VISIBILITY_SECONDS, DELAY_SECONDS, WAIT_SECONDS, MESSAGE_ATTRIBUTES, MESSAGES = 43_200, 900, 20, 10, MIB
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html: 1 MB since January 2026
EVENTS = MIB
# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
STANDARD_PARAMETER, ADVANCED_PARAMETER, PARAMETER_LEVELS = 4 * KIB, 8 * KIB, 15
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
METRIC_DATA, DIMENSIONS, VALUES = 1000, 30, 150
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
LOG_EVENT, LOG_EVENTS, LOG_OVERHEAD, LOG_SPAN_MS = MIB, MIB, 26, 24 * 3600 * 1000

_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_TOPIC = re.compile(rf"[A-Za-z0-9_-]{{1,{TOPIC_NAME}}}|[A-Za-z0-9_-]{{1,{TOPIC_NAME - 5}}}\.fifo")
_PARAMETER = re.compile(r"[A-Za-z0-9_./-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


# ---- Lambda


def _function(members: Members) -> None:
    name = str(members.get("FunctionName") or "").rpartition(":")[2]
    if len(name) > FUNCTION_NAME:
        raise LimitExceeded(
            "ValidationException",
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {FUNCTION_NAME}",
        )
    _function_configuration(members)


def _function_configuration(members: Members) -> None:
    variables = (members.get("Environment") or {}).get("Variables") or {}
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if _bytes(measured) > FUNCTION_ENVIRONMENT:
        raise LimitExceeded(
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}",
        )
    if len(members.get("Layers") or ()) > FUNCTION_LAYERS:
        raise LimitExceeded(
            "InvalidParameterValueException", f"Cannot reference more than {FUNCTION_LAYERS} layers by a function."
        )


# ---- SNS


def _topic(members: Members) -> None:
    if not _TOPIC.fullmatch(str(members.get("Name", ""))):
        raise LimitExceeded("InvalidParameter", "Invalid parameter: Topic Name")


def _publication(members: Members) -> None:
    if not members.get("Message"):
        raise LimitExceeded("InvalidParameter", "Invalid parameter: Empty message")
    subject = members.get("Subject")
    if subject is not None and (not 0 < len(subject) <= SUBJECT or _CONTROL.search(subject)):
        raise LimitExceeded("InvalidParameter", "Invalid parameter: Subject")


def _publications(members: Members) -> None:
    entries = _items(members.get("PublishBatchRequestEntries"))
    for entry in entries:
        _publication(entry)
    if sum(_bytes(entry["Message"]) + _attributes(entry) for entry in entries) > PUBLICATIONS:
        raise LimitExceeded(
            "BatchRequestTooLong", "The length of all the messages put together is more than the limit."
        )


# ---- SQS


def _queue(members: Members) -> None:
    if not _QUEUE.fullmatch(str(members.get("QueueName", ""))):
        raise LimitExceeded(
            "InvalidParameterValue",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )


def _message(members: Members) -> None:
    _in_range(members, "DelaySeconds", DELAY_SECONDS, "DelaySeconds must be >= 0 and <= {}.")
    number = len(members.get("MessageAttributes") or ())
    if number > MESSAGE_ATTRIBUTES:
        raise LimitExceeded(
            "InvalidParameterValue",
            f"Number of message attributes [{number}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTES}].",
        )
    if _bytes(members.get("MessageBody")) + _attributes(members) > MESSAGES:
        raise LimitExceeded(
            "InvalidParameterValue",
            f"One or more parameters are invalid. Reason: Message must be shorter than {MESSAGES} bytes.",
        )


def _messages(members: Members) -> None:
    sent = sum(_bytes(entry.get("MessageBody")) + _attributes(entry) for entry in _items(members.get("Entries")))
    if sent > MESSAGES:
        raise LimitExceeded(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {MESSAGES} bytes. You have sent {sent} bytes.",
        )


def _reception(members: Members) -> None:
    _visibility(members)
    _in_range(members, "WaitTimeSeconds", WAIT_SECONDS, "Must be >= 0 and <= {}, if provided.")


def _visibility(members: Members) -> None:
    _in_range(members, "VisibilityTimeout", VISIBILITY_SECONDS, "Must be >= 0 and <= {}, if provided.")


def _in_range(members: Members, name: str, most: int, rule: str) -> None:
    value = members.get(name)
    if value is not None and not 0 <= int(value) <= most:
        raise LimitExceeded(
            "InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {rule.format(most)}"
        )


# ---- EventBridge


def _events(members: Members) -> None:
    """An entry counts as its time, source, type, detail and resources, in bytes."""
    size = sum(
        (14 if entry.get("Time") else 0)
        + sum(_bytes(entry.get(name)) for name in ("Source", "DetailType", "Detail"))
        + sum(_bytes(resource) for resource in entry.get("Resources") or ())
        for entry in _items(members.get("Entries"))
    )
    if size > EVENTS:
        raise LimitExceeded("ValidationException", "Total size of the entries in the request is over the limit.")


# ---- Systems Manager


def _parameter(members: Members) -> None:
    name, value, tier = (str(members.get(part) or "") for part in ("Name", "Value", "Tier"))
    if not _PARAMETER.fullmatch(name):
        raise LimitExceeded(
            "ValidationException",
            'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
            "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the "
            "following 3 symbols .-_",
        )
    if name.count("/") > PARAMETER_LEVELS:
        raise LimitExceeded(
            "HierarchyLevelLimitExceededException",
            f"Parameter name hierarchy level limit exceeded. The maximum is {PARAMETER_LEVELS} levels.",
        )
    if tier in ("", "Standard") and len(value) > STANDARD_PARAMETER:
        raise LimitExceeded(
            "ValidationException",
            f"Standard tier parameters support a maximum parameter value of {STANDARD_PARAMETER} characters. To create "
            "a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, "
            "see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html",
        )
    if len(value) > ADVANCED_PARAMETER:
        raise LimitExceeded(
            "ValidationException",
            f"Advanced tier parameters support a maximum parameter value of {ADVANCED_PARAMETER} characters.",
        )


# ---- CloudWatch


def _metrics(members: Members) -> None:
    entities = [_items(entity.get("MetricData")) for entity in _items(members.get("EntityMetricData"))]
    data = [*_items(members.get("MetricData")), *(datum for entity in entities for datum in entity)]
    _collection("MetricData", data, METRIC_DATA)
    for index, datum in enumerate(data, 1):
        _collection(f"MetricData.member.{index}.Dimensions", datum.get("Dimensions") or (), DIMENSIONS)
        _collection(f"MetricData.member.{index}.Values", datum.get("Values") or (), VALUES)


def _collection(name: str, items: Sequence[Any], most: int) -> None:
    if len(items) > most:
        raise LimitExceeded("InvalidParameterValue", f"The collection {name} must not have a size greater than {most}.")


def _log_events(members: Members) -> None:
    events = _items(members.get("logEvents"))
    sizes = [_bytes(event.get("message")) + LOG_OVERHEAD for event in events]
    for size in sizes:
        if size > LOG_EVENT:
            raise _of_logs(f"Log event too large: {size} bytes exceeds limit of {LOG_EVENT}")
    if sum(sizes) > LOG_EVENTS:
        raise _of_logs(f"Upload too large: {sum(sizes)} bytes exceeds limit of {LOG_EVENTS}")
    times = [event.get("timestamp") or 0 for event in events]
    if times != sorted(times):
        raise _of_logs("Log events in a single PutLogEvents request must be in chronological order.")
    if times and times[-1] - times[0] > LOG_SPAN_MS:
        raise _of_logs("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")


def _of_logs(message: str) -> LimitExceeded:
    return LimitExceeded("InvalidParameterException", message)


# ---- S3


def check_bucket_name(name: str) -> None:
    """The rules beside those of length and characters.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html

    Raises:
        LimitExceeded: the name breaks one.
    """
    reserved = name.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
    reserved = reserved or name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    if reserved or ".." in name or _is_address(name):
        details = {"BucketName": name}
        raise LimitExceeded("InvalidBucketName", "The specified bucket is not valid.", details=details)


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


RULES: Mapping[str, Rule] = {
    "cloudwatch:PutMetricData": _metrics,
    "events:PutEvents": _events,
    "lambda:CreateFunction": _function,
    "lambda:UpdateFunctionConfiguration": _function_configuration,
    "logs:PutLogEvents": _log_events,
    "sns:CreateTopic": _topic,
    "sns:Publish": _publication,
    "sns:PublishBatch": _publications,
    "sqs:ChangeMessageVisibility": _visibility,
    "sqs:CreateQueue": _queue,
    "sqs:ReceiveMessage": _reception,
    "sqs:SendMessage": _message,
    "sqs:SendMessageBatch": _messages,
    "ssm:PutParameter": _parameter,
}


def _items(value: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401
    """What may be a list of structures."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _bytes(text: Any) -> int:  # noqa: ANN401
    return len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else 0


def _attributes(message: Mapping[str, Any]) -> int:
    """What the attributes of a message count: names, types and values.  A form has them as a list."""
    given = message.get("MessageAttributes") or {}
    pairs: Iterable[tuple[Any, Any]] = (
        given.items() if isinstance(given, Mapping) else ((each.get("Name"), each.get("Value")) for each in given)
    )
    return sum(
        _bytes(name)
        + _bytes(value.get("DataType"))
        + _bytes(value.get("StringValue"))
        # Bytes travel as text of four characters for three.
        + len(str(value.get("BinaryValue") or "")) * 3 // 4
        for name, value in pairs
        if isinstance(value, Mapping)
    )
