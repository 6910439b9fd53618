"""Every statement is needed: whatever a role may do, something in the tests does, or a document of AWS asks for it.

What roles use is recorded where the application runs in a local cloud (``permissions/used.json``, made anew by ``make
permissions``); what AWS needs and the local cloud does not do is in ``permissions/documented.yaml``, with the reason.
Both are held against the templates with the evaluator that the local cloud decides by: a statement is needed for an
action if something is used that no other statement of the role allows.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ministack.core.iam_evaluator import EvalContext, ParsedStatement, evaluate, parse_policy_document
from templates import Template, flat, listed

from tests.support.permissions import BY_FUNCTION, SERVING, nameless

FOLDER = Path(__file__).parent / "permissions"
STACKS = {
    "sensor-data": "template",
    "inspection": "inspection",
    "image-synthesis": "synthesis",
    "detection": "detection",
    f"inspection{BY_FUNCTION}": "inspection_by_function",
    f"detection{BY_FUNCTION}": "detection_by_function",
    "sensor-data-from-codecommit": "template_from_codecommit",
}
# Of these only what differs from another stack has to be seen: the rest of their roles is the same.
VARIANTS = {
    **{f"{stack}{BY_FUNCTION}": stack for stack in SERVING},
    "sensor-data-from-codecommit": "sensor-data",
}


class Grant(NamedTuple):
    """One action of one statement of a role."""

    role: str
    statement: int
    action: str
    resources: tuple[str, ...]


class Statement(NamedTuple):
    """A statement, as it stands and as the evaluator reads it."""

    text: dict[str, Any]
    parsed: list[ParsedStatement]


@pytest.fixture(scope="module")
def inspection_by_function(synthesise):
    return synthesise(
        "inspection", alert_email="ops@example.com", defect_email="line@example.com", inspection_endpoint="lambda"
    )


@pytest.fixture(scope="module")
def detection_by_function(synthesise):
    return synthesise(
        "detection", alert_email="ops@example.com", defect_email="line@example.com", inspection_endpoint="lambda"
    )


@pytest.fixture(scope="module")
def template_from_codecommit(synthesise):
    return synthesise(alert_email="ops@example.com", defect_email="line@example.com", pipeline_source="codecommit")


@cache
def used() -> dict[str, list[dict[str, Any]]]:
    uses: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "used.json").read_text(encoding="utf-8"))
    return uses


@cache
def documented() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load((FOLDER / "documented.yaml").read_text(encoding="utf-8"))
    return rows


def statements(template: Template, stack: str) -> dict[str, list[Statement]]:
    """The statements of every role of a stack, by ``<stack>/<logical id of the role>``."""
    roles: dict[str, list[Statement]] = {}
    for role, properties in template.of_type("AWS::IAM::Role").items():
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
        for policy in template.of_type("AWS::IAM::Policy").values():
            if {"Ref": role} in policy["Roles"]:
                documents.append(policy["PolicyDocument"])
        texts = [resolved(statement, template) for document in documents for statement in document["Statement"]]
        roles[f"{stack}/{role}"] = [Statement(text, parse_policy_document({"Statement": [text]})) for text in texts]
    return roles


def resolved(value: Any, template: Template) -> Any:
    """A part of a template with references as the record writes them."""
    match value:
        case {"Fn::GetAtt": [name, "Arn"]} if name in template.of_type("AWS::Logs::LogGroup"):
            return f"<{name}.Arn>:*"
        case {"Fn::Join": [separator, parts]}:
            text = nameless(separator.join(resolved(part, template) for part in parts))
            return machines(template).get(text, text)
        case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::Sub": _}:
            text = flat(value).replace("<AWS::URLSuffix>", "amazonaws.com").replace("<AWS::Region>", "us-east-1")
            return text.replace("${AWS::AccountId}", "123456789012")
        case dict():
            return {key: resolved(inner, template) for key, inner in value.items()}
        case list():
            return [resolved(inner, template) for inner in value]
        case _:
            return value


def machines(template: Template) -> dict[str, str]:
    """State machines that a policy calls by name, where a reference would be a circle, as the record has them."""
    prefix = "arn:aws:states:us-east-1:123456789012:stateMachine:"
    resources = template.of_type("AWS::StepFunctions::StateMachine").items()
    return {prefix + str(properties.get("StateMachineName")): f"<{name}>" for name, properties in resources}


def allows(statement: Statement, use: dict[str, Any]) -> bool:
    context = EvalContext(
        principal_arn="arn:aws:sts::123456789012:assumed-role/role/session",
        principal_type="AssumedRole",
        principal_account="123456789012",
        action=use["action"],
        resource_arn=use["resource"],
        region="us-east-1",
        secure_transport=True,
        service_context={key.lower(): value for key, value in use.get("context", {}).items()},
    )
    return bool(evaluate(context, [statement.parsed]).decision == "Allow")


def grants(role: str, found: list[Statement]) -> Iterator[Grant]:
    for number, statement in enumerate(found):
        for action in listed(statement.text["Action"]):
            yield Grant(role, number, action, tuple(listed(statement.text["Resource"])))


def needs(role: str, found: list[Statement]) -> set[tuple[int, str]]:
    """Statements, by number, and actions as they stand there, of which something is used that no other allows."""
    needed = set()
    stack, _, name = role.partition("/")
    for use in [*used().get(role, []), *used().get(f"{VARIANTS.get(stack)}/{name}", [])]:
        allowing = [number for number, statement in enumerate(found) if allows(statement, use)]
        if len(allowing) == 1:
            actions = listed(found[allowing[0]].text["Action"])
            needed |= {(allowing[0], action) for action in actions if fnmatch.fnmatchcase(use["action"], action)}
    return needed


def is_documented(grant: Grant) -> bool:
    return any(
        fnmatch.fnmatchcase(grant.role, row["role"])
        and any(fnmatch.fnmatchcase(grant.action, a) for a in row["actions"])
        for row in documented()
    )


@pytest.mark.parametrize("stack", STACKS)
def test_nothing_is_granted_that_nobody_needs(stack, request):
    unneeded = []
    for role, found in statements(request.getfixturevalue(STACKS[stack]), stack).items():
        needed = needs(role, found)
        unneeded += [
            f"{grant.role}: {grant.action} on {', '.join(grant.resources)}"
            for grant in grants(role, found)
            if (grant.statement, grant.action) not in needed and not is_documented(grant)
        ]

    assert not unneeded, "\n".join(unneeded)


@pytest.mark.parametrize("stack", STACKS)
def test_everything_that_was_used_is_granted(stack, request):
    roles = statements(request.getfixturevalue(STACKS[stack]), stack)
    denied = [
        f"{role}: {use}"
        for role, uses in used().items()
        if role in roles
        for use in uses
        if not any(allows(statement, use) for statement in roles[role])
    ]

    assert not denied, "\n".join(denied)


@pytest.mark.parametrize("stack", STACKS)
def test_every_role_that_was_recorded_is_in_the_templates(stack, request):
    roles = statements(request.getfixturevalue(STACKS[stack]), stack)

    assert {role for role in used() if role.startswith(f"{stack}/")} <= roles.keys()


def test_every_row_of_the_table_has_a_reason_and_something_that_it_is_for(request):
    granted = [
        grant
        for stack, fixture in STACKS.items()
        for role, found in statements(request.getfixturevalue(fixture), stack).items()
        for grant in grants(role, found)
        if (grant.statement, grant.action) not in needs(role, found)
    ]
    for row in documented():
        assert len(row["why"]) > 20, row
        for action in row["actions"]:
            meant = [
                g for g in granted if fnmatch.fnmatchcase(g.role, row["role"]) and fnmatch.fnmatchcase(g.action, action)
            ]
            assert meant, f"{row['role']}: {action} is granted no more, or is used: remove it from documented.yaml"
