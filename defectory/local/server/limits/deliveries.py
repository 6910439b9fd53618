"""What services hand on to each other by themselves is measured as a request would be.

What is too long does not arrive: it goes to the dead letters of the rule or the subscription, if there are any, and the
server's log says why.  A batch for a function ends where another message would make it too long.
https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html (``BatchSize``) and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html; figures as in ``rules.py``.
"""

from __future__ import annotations

import contextvars
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import dynamodb, eventbridge, lambda_svc, s3, sns, sqs

from defectory.local.server.authorization.deliveries import send_to_dead_letters
from defectory.local.server.executions import MOST_BYTES, size_of
from defectory.local.server.hooks import replace, require
from defectory.local.server.limits.requests import EVENT, INVOCATION
from defectory.local.server.limits.rules import MESSAGES, PUBLICATIONS

log = logging.getLogger(__name__)

# What a record of a batch has around its body, at most.
RECORD = 2048
# Targets of the rule that is being served, which its event was too long for.
_refused: contextvars.ContextVar[list[str]] = contextvars.ContextVar("refused")


def measure_deliveries() -> None:
    """Stand before what MiniStack's services deliver."""
    _measure_rules()
    _measure_topics()
    _measure_sources()
    _measure_batches()


def is_too_long(arn: str, size: int) -> bool:
    """Whether so many bytes are too many for a queue, topic, function or state machine; the log says so."""
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    most = _queue_limit(arn) if service == "sqs" else _LIMITS.get(service)
    if most is None or size <= most:
        return False
    log.warning("A delivery of %d bytes to %s is longer than %d, and was not made", size, arn, most)
    return True


def _queue_limit(arn: str) -> int:
    attributes = (_queue(arn) or {}).get("attributes", {})
    return int(attributes.get("MaximumMessageSize", MESSAGES))


def _measure_rules() -> None:
    for name in ("_dispatch_to_sqs", "_dispatch_to_lambda", "_dispatch_to_sns", "_dispatch_to_stepfunctions"):

        @replace(eventbridge, name)
        def dispatch(original: Callable[..., Any], target: Any, payload: str, *rest: Any, **more: Any) -> None:  # noqa: ANN401
            if is_too_long(str(target), len(payload.encode())):
                _refused.get([]).append(str(target))
            else:
                original(target, payload, *rest, **more)

    @replace(eventbridge, "_invoke_target", "target", "event", "rule")
    def invoke(
        original: Callable[..., None],
        target: dict[str, Any],
        event: Any,  # noqa: ANN401
        rule: dict[str, Any],
        *rest: Any,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> None:
        refused: list[str] = []
        before = _refused.set(refused)
        try:
            original(target, event, rule, *rest, **more)
        finally:
            _refused.reset(before)
        if refused:
            send_to_dead_letters(rule, target, event)


def _measure_topics() -> None:
    @replace(sns, "_deliver_to_sqs", "endpoint", "envelope", "raw", "raw_message", "message_attributes", "topic_arn")
    def to_queue(
        original: Any,  # noqa: ANN401
        endpoint: str,
        envelope: str,
        raw: bool,
        raw_message: str,
        **more: Any,  # noqa: ANN401
    ) -> None:
        size = _payload_size(raw_message, more.get("message_attributes") or {}) if raw else len(envelope.encode())
        letters = _dead_letters_of(str(more.get("topic_arn")), endpoint)
        for queue in filter(None, (endpoint, letters)):
            if not is_too_long(queue, size):
                original(queue, envelope, raw, raw_message, **more)
                return

    @replace(sns, "_deliver_to_lambda", "endpoint", "envelope", "topic_arn", "raw_message", "message_attributes")
    def to_function(original: Any, endpoint: str, envelope: str, topic_arn: str, *rest: Any) -> None:  # noqa: ANN401
        if not is_too_long(endpoint, len(envelope.encode())):
            original(endpoint, envelope, topic_arn, *rest)
        elif letters := _dead_letters_of(topic_arn, endpoint):
            _, _, raw_message, attributes = rest
            _to_queue(letters, envelope, False, raw_message, message_attributes=attributes, topic_arn=topic_arn)


def _dead_letters_of(topic: str, endpoint: str) -> str:
    """The queue of a subscription for what could not be delivered; empty if there is none."""
    subscriptions = (_topic(topic) or {}).get("subscriptions", ())
    policies = (item["attributes"].get("RedrivePolicy") for item in subscriptions if item["endpoint"] == endpoint)
    return next((str(json.loads(policy).get("deadLetterTargetArn", "")) for policy in policies if policy), "")


def _measure_sources() -> None:
    """Buckets, and the failures of functions."""
    for name in ("_deliver_event_to_sqs", "_deliver_event_to_sns", "_deliver_event_to_lambda"):

        @replace(s3, name, "arn", "event_payload")
        def from_bucket(
            original: Callable[..., None],
            arn: str,
            event_payload: Mapping[str, Any],
            *rest: Any,  # noqa: ANN401
            **more: Any,  # noqa: ANN401
        ) -> None:
            if not is_too_long(arn, size_of(event_payload)):
                original(arn, event_payload, *rest, **more)

    @replace(lambda_svc, "_route_async_failure", "target_arn", "func_name", "event", "result")
    def from_function(
        original: Any,  # noqa: ANN401
        target_arn: str,
        func_name: str,
        event: Any,  # noqa: ANN401
        result: Mapping[str, Any],
    ) -> None:
        if not is_too_long(target_arn, size_of({"requestPayload": event, "responsePayload": result.get("body")})):
            original(target_arn, func_name, event, result)


def _measure_batches() -> None:
    @replace(sqs, "_receive_messages_for_esm", "queue_url", "max_number")
    def receive(original: Any, queue_url: str, max_number: int) -> list[dict[str, Any]]:  # noqa: ANN401
        messages: list[dict[str, Any]] = original(queue_url, max_number)
        number = _number_that_fits([size_of(_content(message)) + RECORD for message in messages])
        for message in messages[number:]:
            _give_back(message)
        return messages[:number]

    @replace(dynamodb, "stream_records_since", "table_name", "position", "limit")
    def read(original: Any, *asked: Any, **scope: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        records: list[dict[str, Any]] = original(*asked, **scope)
        return records[: _number_that_fits([size_of(record) for record in records])]


def _number_that_fits(sizes: list[int]) -> int:
    """How many of the next records one invocation takes; at least one, or it would never be over."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if total > INVOCATION and number:
            return number
    return len(sizes)


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"body": message["body"], "messageAttributes": message.get("message_attributes", {})}


def _give_back(message: dict[str, Any]) -> None:
    """As if a message had not been received."""
    message |= {"receipt_handle": None, "visible_at": time.time(), "receive_count": message["receive_count"] - 1}
    if not message["receive_count"]:
        message["first_receive_at"] = None


_LIMITS = {"lambda": EVENT, "sns": PUBLICATIONS, "states": MOST_BYTES}
_queue = require(sqs, "_queue_by_arn", "arn")
_topic = require(sns, "_topic_by_arn_any_scope", "topic_arn")
_payload_size = require(sns, "_message_payload_size", "message", "attrs")
_to_queue = require(sns, "_deliver_to_sqs")
