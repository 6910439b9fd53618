"""Fleets: what more machines than one request may have come to, and what is refused."""

from __future__ import annotations

import json

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.errors import AuthorError, InputError
from defectory.sensors.service.datasets_bucket import DatasetsBucket
from defectory.sensors.service.fleets import MAX_REQUESTS, STEM_LENGTH, FleetPlanner, token_stem
from defectory.sensors.service.requests import MAX_MACHINES, parse_event
from lambdas.request_sensor_data import handler as module

FLEET = {"industry": "Semiconductor", "number": 7, "user_id": "ann", "seed": 2**32 - 1, "year": 2025}
KEY = "ann/fleets/night/manifest.jsonl"


@pytest.fixture
def client(aws):
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="data")
    return client


@pytest.fixture
def plan(client, author, context, monkeypatch):
    planner = FleetPlanner(author, DatasetsBucket("data", client), 1000)
    monkeypatch.setattr(module, "planner", lambda: planner)
    return lambda **changes: module.handler({"fleet": "night", "input": {**FLEET, **changes}}, context)


def events(client) -> list[dict]:
    lines = client.get_object(Bucket="data", Key=KEY)["Body"].read().splitlines()
    return [json.loads(line) for line in lines]


def test_a_fleet_has_as_many_of_each_kind_as_it_takes_each_request_with_a_seed_of_its_own(plan, client, author):
    """Given an author that knows three kinds."""
    planned = plan()

    assert planned == {"manifest": KEY, "summary": "ann/fleets/night/fleet.json", "requests": 3, "machines": 7}
    assert author.asked == [("Semiconductor", 7)]
    assert [event["machines"] for event in events(client)] == [
        *(["Etcher", "Stepper", "Furnace"], ["Etcher", "Stepper", "Furnace"], ["Etcher"]),
    ]
    assert [event["seed"] for event in events(client)] == [2**32 - 1, 0, 1]
    assert [event["idempotency_token"] for event in events(client)] == ["night-00000", "night-00001", "night-00002"]
    assert {event["year"] for event in events(client)} == {2025}
    for event in events(client):
        assert parse_event(event).number == len(event["machines"])


def test_the_author_is_asked_for_no_more_kinds_than_a_request_may_have(plan, author):
    plan(number=900)

    assert author.asked == [("Semiconductor", MAX_MACHINES)]


@pytest.mark.parametrize("by_key", [False, True])
def test_machines_that_are_named_are_taken_in_their_order(plan, client, author, by_key):
    names = [f"Press {number}" for number in range(120)]
    client.put_object(Bucket="data", Key="ann/press list.json", Body=json.dumps(names))

    plan(number=120, machines="ann/press list.json" if by_key else names)

    assert [len(event["machines"]) for event in events(client)] == [50, 50, 20]
    assert [name for event in events(client) for name in event["machines"]] == names
    assert not author.asked


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"number": 1001}, "number"),
        ({"number": 0}, "number"),
        ({"number": True}, "number"),
        ({"industry": "steel; rm"}, "industry"),
        ({"user_id": "../bob"}, "user_id"),
        ({"year": 1}, "year"),
        ({"seed": -1}, "seed"),
        ({"surprise": 1}, "surprise"),
        ({"machines": "bob/list.json"}, "machines"),
        ({"machines": "ann/gone.json"}, "ann/gone.json"),
        ({"machines": "ann/" + "ä" * 511}, "machines"),
        ({"machines": "ann/broken.json"}, "machines"),
        ({"machines": "ann/object.json"}, "machines"),
        ({"machines": ["Press"]}, "number"),
        ({"machines": ["Press"] * 7}, "machines"),
        ({"machines": ["rm -rf /"] * 7}, "machines"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_field_and_nothing_is_written(plan, client, changes, field):
    client.put_object(Bucket="data", Key="ann/broken.json", Body=b"[")
    client.put_object(Bucket="data", Key="ann/object.json", Body=b'{"a": 1}')

    with pytest.raises(InputError) as caught:
        plan(**changes)

    assert caught.value.field == field
    assert "fleets" not in str(client.list_objects_v2(Bucket="data")["Contents"])


def test_more_requests_than_their_ends_fit_into_a_states_output_are_refused(client, author):
    author.names = ("Etcher",)
    planner = FleetPlanner(author, DatasetsBucket("data", client), 10_000)

    assert planner.store({**FLEET, "number": MAX_REQUESTS}, "night")["requests"] == MAX_REQUESTS
    with pytest.raises(InputError, match="1001 requests of 1 machines"):
        planner.store({**FLEET, "number": MAX_REQUESTS + 1}, "night")


def test_an_author_that_knows_no_machine_is_an_error(plan, author):
    author.names = ()

    with pytest.raises(AuthorError, match="knows no machine"):
        plan()


@pytest.mark.parametrize("event", [None, [], "x"])
def test_an_input_that_is_no_object_is_refused(plan, event, context):
    with pytest.raises(InputError, match="input"):
        module.handler({"fleet": "night", "input": event}, context)


@given(names=st.sets(st.text(min_size=1, max_size=80), min_size=2, max_size=2))
def test_tokens_of_requests_are_legal_and_a_fleets_own_whatever_its_execution_is_called(names):
    stems = {token_stem(name) for name in names}

    assert len(stems) == 2
    for stem in stems:
        token = f"{stem}-{MAX_REQUESTS:05d}"
        assert len(stem) <= STEM_LENGTH
        assert parse_event({**FLEET, "idempotency_token": token}).idempotency_token == token


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("night", "night"),
        ("n" * 40, "n" * 40),
        ("n" * 41, "n" * 27 + "-"),
        ("Nacht+2", "Nacht-2-"),
        ("夜", "--"),
    ],
)
def test_a_name_that_is_a_token_stays_and_others_are_told_apart_by_a_digest(name, stem):
    assert token_stem(name).startswith(stem)
    assert len(token_stem(name).removeprefix(stem)) == (0 if name == stem else 12)
