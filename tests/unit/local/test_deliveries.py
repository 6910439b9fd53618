"""What MiniStack's services deliver to each other, measured; in its own code, without a server."""

import json
from collections.abc import Iterator

import pytest
from ministack.core.responses import request_scope
from ministack.services import dynamodb, eventbridge, lambda_svc, s3, sns, sqs

from defectory.local.server.authorization import deliveries as allowed
from defectory.local.server.limits import deliveries

ACCOUNT, REGION = "123456789012", "us-east-1"
MODULES = (dynamodb, eventbridge, lambda_svc, s3, sns, sqs)
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
SMALL = 1024


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deliveries are measured, and every policy allows them; both gone when the test is over."""
    before = [dict(vars(module)) for module in MODULES]
    monkeypatch.setattr(sqs, "queue_policy_allows", lambda *_: True)
    monkeypatch.setattr(allowed, "_rule_may_reach", lambda *_: True)
    deliveries.measure_deliveries()
    try:
        with request_scope(ACCOUNT, REGION):
            yield
    finally:
        sqs.reset()
        sns.reset()
        for module, values in zip(MODULES, before, strict=True):
            vars(module).update(values)


def make_queue(name: str, most: int | None = None) -> str:
    """A queue's ARN."""
    attributes = {"MaximumMessageSize": str(most)} if most else {}
    sqs._HANDLERS["CreateQueue"]({"QueueName": name, "Attributes": attributes}, "")
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def bodies(arn: str) -> list[str]:
    queue = sqs._queue_by_arn(arn)
    assert queue
    return [message["body"] for message in queue["messages"]]


# ------------------------------------------------------------------ topics


TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"


def subscribe(endpoint: str, protocol: str, letters: str = "", *, raw: bool = False) -> None:
    attributes = {"RawMessageDelivery": str(raw).lower()}
    if letters:
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": letters})
    subscription = {
        **{"arn": f"{TOPIC}:1", "protocol": protocol, "endpoint": endpoint, "confirmed": True},
        "attributes": attributes,
    }
    sns._topics[TOPIC] = {"arn": TOPIC, "attributes": {}, "subscriptions": [subscription]}


@pytest.mark.parametrize(("raw", "arrives"), [(True, True), (False, False)])
def test_a_notification_is_as_long_as_what_is_around_it(raw: bool, arrives: bool) -> None:
    queue, letters = make_queue("small", SMALL), make_queue("letters")
    subscribe(queue, "sqs", letters, raw=raw)
    sns._fanout(TOPIC, "id", "m" * SMALL, "")
    assert (len(bodies(queue)), len(bodies(letters))) == (arrives, not arrives)


def test_a_notification_that_no_queue_takes_is_lost_in_words(caplog: pytest.LogCaptureFixture) -> None:
    queue, letters = make_queue("small", SMALL), make_queue("letters", SMALL)
    subscribe(queue, "sqs", letters)
    sns._fanout(TOPIC, "id", "m" * SMALL, "")
    assert bodies(queue) == bodies(letters) == []
    assert [record.message.rpartition(" to ")[2] for record in caplog.records] == [
        f"{arn} is longer than 1024, and was not made" for arn in (queue, letters)
    ]


def test_a_notification_for_a_function_has_the_length_of_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    invoked: list[str] = []
    monkeypatch.setattr(lambda_svc, "_get_func_record_for_ref", lambda arn: invoked.append(arn) or (None, None, arn))
    letters = make_queue("letters")
    subscribe(FUNCTION, "lambda", letters)
    # Each within 256 KB as it was published; the last one's characters take six bytes each.
    for message in ("m" * 200_000, '"' * 100_000, "\x01" * 200_000):
        envelope = sns._build_envelope(TOPIC, "id", message, "", {}, False)
        sns._deliver_to_lambda(FUNCTION, envelope, TOPIC, f"{TOPIC}:1", "id", message, {})
    # Neither does that one fit a queue.
    assert (invoked, bodies(letters)) == ([FUNCTION] * 2, [])
    monkeypatch.setattr(deliveries, "_LIMITS", {"lambda": SMALL})
    envelope = sns._build_envelope(TOPIC, "id", "m" * SMALL, "", {}, False)
    sns._deliver_to_lambda(FUNCTION, envelope, TOPIC, f"{TOPIC}:1", "id", "m" * SMALL, {})
    assert (len(invoked), bodies(letters)) == (2, [envelope])


# ------------------------------------------------------------------ rules


def fire(detail: str, target: str, letters: str = "") -> None:
    event = {"EventId": "1", "Source": "s", "DetailType": "t", "Detail": json.dumps({"d": detail}), "Resources": []}
    event |= {"Time": "2026-11-28T00:00:00Z", "Account": ACCOUNT, "Region": REGION, "EventBusName": "default"}
    rule = {"Name": "rule", "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/rule"}
    dead = {"DeadLetterConfig": {"Arn": letters}} if letters else {}
    eventbridge._invoke_target({"Id": "1", "Arn": target, **dead}, event, rule)


@pytest.mark.parametrize(("length", "arrives"), [(10, True), (SMALL, False)])
def test_an_event_for_a_queue_is_measured_or_lies_among_the_dead_letters(length: int, arrives: bool) -> None:
    queue, letters = make_queue("small", SMALL), make_queue("letters")
    fire("d" * length, queue, letters)
    [body] = bodies(queue if arrives else letters)
    assert json.loads(body)["detail"] == {"d": "d" * length}
    assert bodies(letters if arrives else queue) == []


@pytest.mark.parametrize(
    ("service", "resource", "most"),
    [("lambda", "function:f", 1_048_576), ("sns", "topic", 262_144), ("states", "stateMachine:m", 262_144)],
)
def test_an_event_for_anything_else_is_too(service: str, resource: str, most: int) -> None:
    letters = make_queue("letters")
    target = f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"
    # Nothing is there: what is short enough fails otherwise, without dead letters.
    for length, dead in ((most - 400, 0), (most, 1 if service != "lambda" else 0)):
        fire("d" * length, target, letters)
        assert len(bodies(letters)) == dead


# ------------------------------------------------------------------ buckets, and failures of functions


def test_a_buckets_notification_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    queue = make_queue("small", SMALL)
    for key in ("k", "k" * SMALL):
        s3._deliver_event_to_sqs(queue, {"Records": [{"s3": {"object": {"key": key}}}]}, REGION, bucket_name="bucket")
    assert len(bodies(queue)) == 1
    assert "A delivery of 1066 bytes" in caplog.text


def test_a_functions_failure_is_measured_with_the_answer() -> None:
    queue = make_queue("small", SMALL)
    for length in (10, SMALL // 2):
        answer = {"error": True, "body": {"errorMessage": "e" * length}}
        lambda_svc._route_async_failure(queue, "f", {"given": "g" * length}, answer)
    [body] = bodies(queue)
    assert json.loads(body)["requestPayload"] == {"given": "g" * 10}


# ------------------------------------------------------------------ batches


def test_a_batch_of_messages_ends_where_an_invocation_would_be_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "INVOCATION", 3 * (deliveries.RECORD + 1000))
    arn = make_queue("queue")
    url = sqs._queue_url("queue")
    for number in range(5):
        sqs._HANDLERS["SendMessage"]({"QueueUrl": url, "MessageBody": f"{number}" + "m" * 900}, url)
    batches = [[message["body"][0] for message in sqs._receive_messages_for_esm(url, 10)] for _ in range(3)]
    assert batches == [["0", "1", "2"], ["3", "4"], []]
    queue = sqs._queue_by_arn(arn)
    assert queue
    assert [message["receive_count"] for message in queue["messages"]] == [1] * 5


def test_a_message_that_is_too_long_by_itself_is_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "INVOCATION", 10)
    make_queue("queue")
    url = sqs._queue_url("queue")
    for number in range(2):
        sqs._HANDLERS["SendMessage"]({"QueueUrl": url, "MessageBody": f"{number}"}, url)
    assert [message["body"] for message in sqs._receive_messages_for_esm(url, 10)] == ["0"]


def test_a_batch_of_a_tables_stream_ends_there_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"n": f"{number}" + "x" * 93} for number in range(5)]
    monkeypatch.setattr(dynamodb, "_live_stream_records", lambda *_: records)
    monkeypatch.setattr(deliveries, "INVOCATION", 250)
    read = [[record["n"][0] for record in dynamodb.stream_records_since("t", at, 4)] for at in (0, 2, 4)]
    assert read == [["0", "1"], ["2", "3"], ["4"]]
