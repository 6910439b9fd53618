"""The requests table: conditional, repeatable writes, and requests that never touch each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from defectory.errors import InputError, ServiceError
from defectory.sensors.service.requests import SensorRequest, parse_event
from defectory.sensors.service.requests_table import (
    RequestClosedError,
    RequestNotFoundError,
    RequestsTable,
)

NOW = datetime(2026, 11, 21, 10, 45, tzinfo=UTC)


def a_request(user_id="ann", now=NOW, machines=("Etcher", "Stepper"), **fields) -> SensorRequest:
    event = parse_event({"industry": "Steel", "number": len(machines), "user_id": user_id, **fields})
    return SensorRequest.new(event, machines=machines, author="catalogue", retention=timedelta(days=1), now=now)


def put(table: RequestsTable, token="t", fingerprint="f", **fields) -> SensorRequest:
    return table.create(a_request(**fields), token=token, fingerprint=fingerprint)


def test_a_request_is_read_as_it_was_written(table):
    request = put(table)

    assert table.get("ann", request.request_id) == request


def test_two_requests_of_one_user_in_one_millisecond_stand_side_by_side(table):
    first, second = put(table, token="1"), put(table, token="2")

    table.close("ann", first.request_id, "FAILED", "why")

    assert first.request_id != second.request_id
    assert table.get("ann", second.request_id) == second


def test_the_same_token_gives_the_first_request_again(table):
    first = put(table)

    assert put(table) == first
    assert table.find_by_token("ann", "t", fingerprint="f") == first


def test_the_same_token_of_another_user_is_another_token(table):
    assert put(table).request_id != put(table, user_id="bob").request_id


def test_a_token_used_for_other_parameters_is_refused_by_name(table):
    request = put(table)

    with pytest.raises(InputError) as caught:
        put(table, fingerprint="other")

    assert caught.value.field == "idempotency_token"
    assert request.request_id in caught.value.fix


def test_a_request_that_was_refused_half_way_leaves_nothing(table, dynamodb, monkeypatch):
    real = dynamodb.transact_write_items
    monkeypatch.setattr(
        dynamodb,
        "transact_write_items",
        lambda TransactItems: real(
            TransactItems=[*TransactItems, {"Put": {"TableName": "nowhere", "Item": {"user_id": {"S": "x"}}}}]
        ),
    )

    with pytest.raises(ServiceError):
        put(table)

    assert dynamodb.scan(TableName="requests")["Count"] == 0


def test_an_unknown_request_is_named(table):
    with pytest.raises(RequestNotFoundError, match="nothing"):
        table.get("ann", "nothing")


def test_a_machine_moves_on_alone(table):
    request = put(table)

    table.set_machine_status("ann", request.request_id, "stepper", "RUNNING", attempts=2)
    table.set_machine_status("ann", request.request_id, "stepper", "REPAIRING", error="half a year")

    etcher, stepper = table.get("ann", request.request_id).machines
    assert etcher == request.machines[0]
    assert (stepper.status, stepper.attempts, stepper.error) == ("REPAIRING", 2, "half a year")


def test_a_published_machine_stays_published(table):
    request = put(table)

    assert table.set_machine_status("ann", request.request_id, "etcher", "PUBLISHED")
    assert table.set_machine_status("ann", request.request_id, "etcher", "PUBLISHED"), "doing it again is no error"
    assert not table.set_machine_status("ann", request.request_id, "etcher", "FAILED", error="late")

    assert table.get("ann", request.request_id).machines[0].status == "PUBLISHED"


def test_an_unknown_machine_is_refused(table):
    request = put(table)

    with pytest.raises(ServiceError, match="no machine 'lathe'"):
        table.set_machine_status("ann", request.request_id, "lathe", "RUNNING")


def test_the_status_moves_on_until_the_request_is_closed(table):
    request = put(table)

    table.set_status("ann", request.request_id, "WRITING")
    assert table.get("ann", request.request_id).status == "WRITING"

    assert table.close("ann", request.request_id, "PARTIAL", "Stepper failed")
    with pytest.raises(RequestClosedError, match=r"PARTIAL.*Stepper failed"):
        table.set_status("ann", request.request_id, "RUNNING")
    with pytest.raises(RequestClosedError):
        table.set_machine_status("ann", request.request_id, "etcher", "RUNNING")


def test_closing_again_changes_nothing(table):
    request = put(table)

    assert table.close("ann", request.request_id, "PUBLISHED")
    assert not table.close("ann", request.request_id, "FAILED", "late")

    closed = table.get("ann", request.request_id)
    assert (closed.status, closed.reason, closed.active) == ("PUBLISHED", "", False)


def test_closing_what_is_not_there_makes_nothing(table, dynamodb):
    with pytest.raises(RequestNotFoundError):
        table.close("ann", "nothing", "FAILED")

    assert dynamodb.scan(TableName="requests")["Count"] == 0


def test_the_first_execution_stays(table):
    request = put(table)

    table.set_execution("ann", request.request_id, "e-1")
    table.set_execution("ann", request.request_id, "e-2")

    assert table.get("ann", request.request_id).pipeline_execution_id == "e-1"


def test_only_old_requests_that_are_owed_are_listed_over_all_pages(table, dynamodb, monkeypatch):
    old = [put(table, token=str(i), user_id=f"u{i}", now=NOW - timedelta(hours=9 - i)) for i in range(5)]
    put(table, token="young", now=NOW)
    table.close(old[1].user_id, old[1].request_id, "FAILED", "why")
    real = dynamodb.query
    monkeypatch.setattr(dynamodb, "query", lambda **arguments: real(**arguments, Limit=2))

    listed = list(table.active_before(NOW - timedelta(hours=2)))

    assert listed == [(request.user_id, request.request_id) for request in old if request is not old[1]]


def test_a_service_that_refuses_is_named(dynamodb):
    with pytest.raises(ServiceError, match="Cannot read"):
        RequestsTable("elsewhere", dynamodb).get("ann", "x")
