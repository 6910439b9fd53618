"""Environment variables of functions: typed, and named where one is missing or wrong."""

from __future__ import annotations

import pytest

from defectory.aws.environment import FunctionEnvironment, FunctionEnvironmentError
from defectory.errors import InputError


class Environment(FunctionEnvironment):
    """A function's."""

    results_table: str
    retention_days: int
    model_id: str = ""


def test_variables_are_read_by_the_names_of_the_fields_and_typed(monkeypatch):
    monkeypatch.setenv("RESULTS_TABLE", "inspections")
    monkeypatch.setenv("RETENTION_DAYS", "30")

    assert Environment.load() == Environment.model_construct(
        results_table="inspections", retention_days=30, model_id=""
    )


@pytest.mark.parametrize(
    ("environ", "problems"),
    [
        ({"RETENTION_DAYS": "30"}, ["RESULTS_TABLE is not set"]),
        ({}, ["RESULTS_TABLE is not set", "RETENTION_DAYS is not set"]),
        ({"results_table": "t", "RETENTION_DAYS": "30"}, ["RESULTS_TABLE is not set"]),
        ({"RESULTS_TABLE": "t", "RETENTION_DAYS": "long"}, ["RETENTION_DAYS is 'long' (", "integer"]),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_where_it_is_set(environ, problems):
    with pytest.raises(FunctionEnvironmentError) as caught:
        Environment.load(environ)

    assert all(problem in str(caught.value) for problem in problems)
    assert "stacks/" in str(caught.value)


def test_a_wrong_environment_is_never_taken_for_a_wrong_request():
    # Handlers answer an InputError to who called; this one is the operator's to mend.
    assert not issubclass(FunctionEnvironmentError, InputError)
