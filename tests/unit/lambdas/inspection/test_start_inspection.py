"""Starting inspections: each upload once, in whatever shape, order and number S3 tells of it."""

from __future__ import annotations

import json
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas.start_inspection import handler as module
from tests.unit.lambdas.inspection.conftest import refusal


@pytest.fixture
def start(calling, machine):
    def start(*messages: dict) -> list[str]:
        """The ids of the messages that the queue shall hand out again."""
        answer = calling(module, "machine", machine, {"Records": list(messages)})
        return [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]

    return start


def keys(stepfunctions) -> list[str]:
    return [started["upload"]["key"] for started in stepfunctions.started.values()]


def test_every_record_of_every_message_is_started(start, told, stepfunctions):
    assert not start(told(("a.png", "1"), ("b.png", "1"), message_id="m1"), told(("c.png", "1"), message_id="m2"))

    assert keys(stepfunctions) == ["a.png", "b.png", "c.png"]
    [first, *_] = stepfunctions.started.values()
    assert first["upload"] == {
        "bucket": "uploads",
        "key": "a.png",
        "version_id": "1",
        "sequencer": "1",
        "size": 10,
        "uploaded_at": "2026-11-21T11:59:00.000Z",
        "attempt": 1,
    }


def test_a_message_that_comes_again_starts_nothing_and_is_done(start, told, stepfunctions):
    message = told(("a.png", "1"))

    assert not start(message)
    assert not start(message, message)

    assert len(stepfunctions.started) == 1


def test_versions_of_one_name_are_inspected_each_in_any_order(start, told, stepfunctions):
    start(told(("a.png", "second")), told(("a.png", "first")))

    assert [started["upload"]["version_id"] for started in stepfunctions.started.values()] == ["second", "first"]


def test_without_versions_the_sequencer_tells_uploads_apart(start, told, stepfunctions):
    start(told(("a.png", ""), sequencer="1"), told(("a.png", ""), sequencer="2"), told(("a.png", ""), sequencer="2"))

    assert len(stepfunctions.started) == 2


@pytest.mark.parametrize(
    "name",
    [
        "lot 7/part 12.png",
        "a+b.png",
        "100%.png",
        "50%25.png",
        "部品/欠陥.png",
        "Prüfung/деталь №5.JPG",
        "علامة.png",
        "🔩.png",
        "n" * 1000 + ".png",
        "ü" * 510 + ".png",
        "line\nbreak.png",
    ],
)
def test_names_arrive_as_they_were_given(start, told, stepfunctions, name):
    assert not start(told((quote_plus(name), "1")))

    assert keys(stepfunctions) == [name]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda n: n[-1] != "/"))
def test_any_name_arrives_as_it_was_given(start, told, stepfunctions, name):
    stepfunctions.started.clear()

    assert not start(told((quote_plus(name, safe=""), "1")))

    assert keys(stepfunctions) == [name]


@pytest.mark.parametrize(
    "body",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T11:59:00.000Z", "Bucket": "uploads"},
        {"Records": []},
    ],
)
def test_s3s_test_event_is_done_and_starts_nothing(start, stepfunctions, body):
    assert not start({"messageId": "m1", "body": json.dumps(body)})
    assert not stepfunctions.started


def test_deletions_and_markers_of_folders_are_no_uploads(start, told, stepfunctions):
    assert not start(told(("a.png", "1"), event="ObjectRemoved:Delete"), told(("folder/", "1"), size=0))
    assert not stepfunctions.started


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "17",
        "{}",
        '{"Records": 1}',
        '{"Records": [1]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        '{"upload": {"key": "a.png"}}',
        '{"upload": null}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "eventTime": "2026-11-21T11:59:00.000Z", '
        '"s3": {"bucket": {"name": "uploads"}, "object": {"key": "%FF%FE.png", "size": 1}}}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "eventTime": "yesterday", '
        '"s3": {"bucket": {"name": "uploads"}, "object": {"key": "a.png", "size": -1}}}]}',
    ],
)
def test_a_poisonous_message_goes_back_alone(start, told, stepfunctions, body):
    good = told(("good.png", "1"), message_id="good")

    assert start({"messageId": "poison", "body": body}, good) == ["poison"]
    assert keys(stepfunctions) == ["good.png"]


def test_the_good_records_beside_a_bad_one_are_started(start, told, stepfunctions):
    message = told(("%FF.png", "1"), ("good.png", "1"))

    assert start(message) == ["m1"]
    assert keys(stepfunctions) == ["good.png"]


@pytest.mark.parametrize("code", ["ThrottlingException", "ExecutionLimitExceeded", "AccessDeniedException"])
def test_what_could_not_be_started_goes_back_and_is_started_the_next_time(start, told, stepfunctions, code):
    message = told(("a.png", "1"))
    stepfunctions.error = refusal(code)
    assert start(message) == ["m1"]
    stepfunctions.error = None

    assert not start(message)
    assert keys(stepfunctions) == ["a.png"]


def test_what_was_put_aside_is_taken_up_again_under_a_name_of_its_own(start, told, stepfunctions):
    start(told(("a.png", "1")))
    [(name, started)] = stepfunctions.started.items()
    again = {"upload": {**started["upload"], "attempt": 2}}

    assert not start({"messageId": "m2", "body": json.dumps(again)})

    assert set(stepfunctions.started) == {name, f"{name.removesuffix('-1')}-2"}
