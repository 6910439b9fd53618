"""Every condition of the templates is one that the local cloud evaluates, or about services that it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from company import COMPANY
from ministack.core import iam_evaluator
from templates import Template, listed

from defectory.local.server.authorization.evaluation import KEY_FAMILIES, KEYS
from defectory.local.server.authorization.protocols import PROTOCOLS

SETTINGS: Mapping[str, dict[str, str]] = {
    "default": {"alert_email": "ops@example.com", "defect_email": "line@example.com"},
    # From CodeCommit, too.
    "in a company": COMPANY,
}
# What permissions of the local cloud's services are called by.
SERVICES = PROTOCOLS.keys() | {"cloudwatch"}


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """Every statement of every policy in a template: of roles, resources, and what trusts."""
    if isinstance(value, dict):
        if value.get("Effect") in ("Allow", "Deny"):
            yield value
        for inner in value.values():
            yield from statements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from statements(inner)


def is_enforced(statement: dict[str, Any]) -> bool:
    """Whether a statement is about something that the local cloud has."""
    actions = listed(statement.get("Action", "*"))
    return any(action == "*" or action.partition(":")[0] in SERVICES for action in actions)


@pytest.fixture(params=SETTINGS)
def templates(request: pytest.FixtureRequest, synthesise: Any) -> list[Template]:
    settings = SETTINGS[request.param]
    return [synthesise(stack, **settings) for stack in ("sensor-data", "inspection", "image-synthesis", "detection")]


def test_every_condition_is_evaluated(templates: list[Template]) -> None:
    unknown, seen = set(), set()
    for statement in (each for template in templates for each in statements(template.body["Resources"])):
        # Compared by elements that nobody here understands, it would deny all.
        assert not {"NotPrincipal"} & statement.keys(), statement
        for operator, keys in statement.get("Condition", {}).items():
            for key in keys:
                seen.add(key)
                known = key.lower() in KEYS or key.lower().startswith(KEY_FAMILIES)
                if is_enforced(statement) and not known:
                    unknown.add(key)
            plain = operator.lower().removesuffix("ifexists").rpartition(":")[2]
            assert plain == "null" or plain in iam_evaluator._CONDITION_OPS, operator

    assert not unknown
    assert {"aws:SecureTransport", "kms:ViaService", "aws:SourceAccount", "cloudwatch:namespace"} <= seen
