"""The request event: what is taken, what is refused, and how clearly."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.errors import InputError
from defectory.sensors.service.requests import (
    RULES,
    MachineState,
    SensorRequest,
    new_request_id,
    outcome,
    parse_event,
    request_id_prefix,
)

GOOD = {"industry": "Semiconductor", "number": 10, "user_id": "ann"}
NOW = datetime(2026, 11, 21, 10, 45, 0, 123_456, UTC)

words = st.text(st.characters(categories=("Ll", "Lu", "Lo", "Nd")) | st.sampled_from(" -/&"), max_size=64)
ids = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def refused(event: object) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_event(event)
    return caught.value


@given(industry=words.filter(lambda text: any(map(str.isalpha, text))), number=st.integers(1, 50), user_id=ids)
def test_everything_within_the_rules_is_taken(industry, number, user_id):
    # Normal form C may only shorten what has no combining marks, so the length still fits.
    event = parse_event({"industry": industry, "number": number, "user_id": user_id})

    assert (event.number, event.user_id) == (number, user_id)
    assert event.industry == event.industry.strip(" ")


@given(st.dictionaries(st.sampled_from([*RULES, "colour", ""]), json_values))
def test_whatever_comes_is_taken_or_refused_by_field_and_rule(event):
    try:
        taken = parse_event(event)
    except InputError as error:
        assert error.field in event or error.field in RULES
        assert error.rule in str(error)
    else:
        assert 1 <= taken.number <= 50
        assert set(taken.user_id) <= set(string.ascii_letters + string.digits + "._-")


@given(json_values.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_is_refused(value):
    assert refused(value).field == "event"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("industry", ""),
        ("industry", "   "),
        ("industry", "x" * 65),
        ("industry", "123"),
        ("industry", "a\nb"),
        ("industry", "steel; DROP TABLE"),
        ("industry", "<script>"),
        ("industry", "a\u202eb"),
        ("industry", "$(reboot)"),
        ("industry", "a\x00"),
        ("industry", None),
        ("industry", ["steel"]),
        ("number", 0),
        ("number", 51),
        ("number", -1),
        ("number", True),
        ("number", "10"),
        ("number", 10.0),
        ("number", 10**400),
        ("user_id", ""),
        ("user_id", ".."),
        ("user_id", "-rf"),
        ("user_id", "a/b"),
        ("user_id", "ann\n"),
        ("user_id", "änn"),
        ("user_id", "a" * 65),
        ("user_id", 7),
        ("idempotency_token", ""),
        ("idempotency_token", "a#b"),
        ("idempotency_token", "t" * 129),
        ("year", 1969),
        ("year", "2025"),
        ("seed", -1),
        ("seed", 2**32),
        ("machines", []),
        ("machines", ["Etcher"] * 10),
        ("machines", ["../../etc/passwd`id`"]),
        ("machines", "Etcher"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_rule(field, value):
    error = refused({**GOOD, field: value})

    assert error.field == field
    assert RULES[field] in str(error)
    assert len(str(error)) < 700, "a huge value is shown shortened"


@pytest.mark.parametrize(
    ("field", "last", "beyond"),
    [
        ("industry", "x" * 64, "x" * 65),
        ("number", 1, 0),
        ("number", 50, 51),
        ("user_id", "a" * 64, "a" * 65),
        ("idempotency_token", "t" * 128, "t" * 129),
        ("year", 1970, 1969),
        ("year", 2100, 2101),
        ("seed", 0, -1),
        ("seed", 4_294_967_295, 4_294_967_296),
    ],
)
def test_the_last_value_within_a_rule_is_taken_and_the_next_is_not(field, last, beyond):
    assert getattr(parse_event({**GOOD, field: last}), field) == last
    assert refused({**GOOD, field: beyond}).field == field


def test_of_several_faults_the_first_field_is_named():
    assert refused({**GOOD, "industry": "", "number": 0, "user_id": ""}).field == "industry"


def test_own_machines_are_fifty_at_most_with_names_of_eighty_letters():
    names = [f"{number:02}" + "m" * 78 for number in range(51)]

    assert parse_event({**GOOD, "number": 50, "machines": names[:50]}).machines == names[:50]
    assert refused({**GOOD, "number": 50, "machines": names}).field == "machines"
    assert refused({**GOOD, "number": 1, "machines": ["m" * 81]}).field == "machines"
    assert parse_event({**GOOD, "number": 1, "machines": ["m"]}).machines == ["m"]


@pytest.mark.parametrize("field", ["industry", "number", "user_id"])
def test_a_missing_field_is_named(field):
    error = refused({key: value for key, value in GOOD.items() if key != field})

    assert error.field == field
    assert "missing" in str(error)


def test_an_unknown_field_is_named_with_the_known_ones():
    error = refused({**GOOD, "industy": "steel"})

    assert error.field == "industy"
    assert "industry" in error.rule


@pytest.mark.parametrize("industry", ["半導体", "Автомобили", "الأغذية", "ऑटोमोटिव", "Food & Beverage", "oil/gas", "x"])
def test_any_script_is_taken(industry):
    assert parse_event({**GOOD, "industry": industry}).industry == industry


def test_own_machines_are_taken_when_they_are_as_many_as_number():
    machines = ["CMP (Tool 1)", "Etcher"]

    assert parse_event({**GOOD, "number": 2, "machines": machines}).machines == machines
    assert refused({**GOOD, "number": 3, "machines": machines}).field == "machines"


def test_the_fingerprint_tells_requests_apart_and_leaves_the_token_out():
    event = parse_event(GOOD)

    assert event.fingerprint == parse_event({**GOOD, "idempotency_token": "t"}).fingerprint
    assert event.fingerprint != parse_event({**GOOD, "number": 11}).fingerprint


def test_a_year_that_is_not_given_is_the_last_complete_one_and_a_seed_is_drawn():
    made = [
        SensorRequest.new(
            parse_event(event), machines=["Etcher"], author="catalogue", retention=timedelta(days=2), now=NOW
        )
        for event in ({**GOOD, "year": 1999, "seed": 0}, GOOD, GOOD)
    ]

    assert [(each.year, each.machines[0].attempts) for each in made] == [(1999, 0), (2025, 0), (2025, 0)]
    assert made[0].seed == 0
    assert made[1].seed != made[2].seed
    assert all(0 <= each.seed < 2**32 for each in made)


def test_an_answer_leaves_out_what_there_is_nothing_to_say_of():
    request = SensorRequest.new(
        parse_event(GOOD), machines=["Etcher"], author="catalogue", retention=timedelta(days=2), now=NOW
    )

    assert set(request.answer()) == {"request_id", "machines", "status", "pipeline_execution_id"}
    assert request.model_copy(update={"note": "fewer"}).answer()["note"] == "fewer"


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)), st.integers(1, 10**12))
def test_request_ids_sort_by_time(moment, milliseconds):
    later = moment + timedelta(milliseconds=milliseconds)

    assert new_request_id(moment) < new_request_id(later)
    assert new_request_id(moment).startswith(request_id_prefix(moment))


def test_a_new_request_owes_every_machine_and_remembers_what_makes_it_repeatable():
    event = parse_event({**GOOD, "seed": 7})
    request = SensorRequest.new(
        event, machines=["Etcher", "etcher!"], author="catalogue", retention=timedelta(days=2), now=NOW
    )

    assert request.request_id.startswith("20261121T104500123Z-")
    assert (request.year, request.seed, request.status, request.active) == (2025, 7, "REQUESTED", True)
    assert len({machine.slug for machine in request.machines}) == 2
    assert {machine.status for machine in request.machines} == {"PENDING"}
    assert request.expires_at == int((NOW + timedelta(days=2)).timestamp())
    assert request.created_at == "2026-11-21T10:45:00.123Z"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("PUBLISHED", "PUBLISHED"), "PUBLISHED"),
        (("PUBLISHED", "FAILED"), "PARTIAL"),
        (("FAILED", "RUNNING"), "FAILED"),
    ],
)
def test_the_outcome_counts_what_is_published(statuses, expected):
    assert (
        outcome([MachineState(name="m", slug=f"m{i}", status=status) for i, status in enumerate(statuses)]) == expected
    )
