"""Confirming: a person's word is written down, wins, and can be collected; a bad event changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas.confirm_inspection import handler as module
from tests.unit.lambdas.inspection.conftest import NOW
from tests.unit.lambdas.inspection.test_recording_and_telling import made


@pytest.fixture
def inspection_id(recorder) -> str:
    return recorder.record(made("FAIL"), NOW)["inspection_id"]


@pytest.fixture
def confirm(calling, results):
    return lambda event: calling(module, "table", results, event)


def test_a_word_is_written_beside_the_verdict(confirm, results, inspection_id):
    answer = confirm({"inspection_id": inspection_id, "label": "anomaly", "by": "ann", "classes": ["scratch"]})

    assert answer["status"] == "CONFIRMED"
    row = results.get(inspection_id)
    assert (row.verdict, row.confirmed, row.confirmed_by, row.confirmed_classes) == (
        *("FAIL", "anomaly", "ann", ("scratch",)),
    )
    assert answer["inspection"]["confirmed"] == "anomaly"


def test_a_later_word_replaces_it_and_all_can_be_collected(confirm, results, inspection_id):
    confirm({"inspection_id": inspection_id, "label": "anomaly", "by": "ann", "note": "a scratch?"})
    confirm({"inspection_id": inspection_id, "label": "normal", "by": "bob"})

    [row] = results.confirmed()
    assert (row.confirmed, row.confirmed_by, row.confirmed_note) == ("normal", "bob", "")
    assert list(results.confirmed(since=row.confirmed_at)) == [row]
    assert not list(results.confirmed(since="2999-01-01"))


@pytest.mark.parametrize(
    ("verdict", "label", "escapes", "overkills"),
    [("PASS", "anomaly", 1, 0), ("PASS", "normal", 0, 0), ("FAIL", "normal", 0, 1), ("FAIL", "anomaly", 0, 0)],
)
def test_a_word_against_the_verdict_is_an_escape_or_an_overkill(
    confirm, recorder, measured, verdict, label, escapes, overkills
):
    inspection_id = recorder.record(made(verdict), NOW)["inspection_id"]

    confirm({"inspection_id": inspection_id, "label": label, "by": "ann"})

    assert [measured(name)[()] for name in ("Confirmations", "Escapes", "Overkills")] == [[1], [escapes], [overkills]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"inspection_id": "0" * 32}, "inspection_id"),
        ({"inspection_id": "alerts#defect#2026-11-21T12"}, "inspection_id"),
        ({"inspection_id": None}, "inspection_id"),
        ({"label": "good"}, "label"),
        ({"label": "normal", "classes": ["scratch"]}, "classes"),
        ({"classes": "scratch"}, "classes"),
        ({"classes": ["s"] * 21}, "classes"),
        ({"classes": [""]}, "classes"),
        ({"by": " "}, "by"),
        ({"note": "n" * 1001}, "note"),
        ({"lable": "normal"}, "lable"),
    ],
)
def test_a_bad_event_is_answered_and_writes_nothing(confirm, results, inspection_id, change, field):
    answer = confirm({"inspection_id": inspection_id, "label": "anomaly", "by": "ann", **change})

    assert answer["status"] == "REJECTED"
    assert answer["error"]["field"] == field
    assert answer["error"]["rule"] in answer["error"]["message"]
    assert results.get(inspection_id).confirmed is None


@pytest.mark.parametrize("field", ["inspection_id", "label", "by"])
def test_what_is_missing_is_named(confirm, inspection_id, field):
    event = {"inspection_id": inspection_id, "label": "anomaly", "by": "ann"}
    del event[field]

    assert confirm(event)["error"]["field"] == field


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(event=st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text()))
def test_any_event_is_answered(confirm, event):
    assert confirm(event)["status"] == "REJECTED"
