"""What MiniStack's evaluator of policies gets wrong, put right; what nobody here can evaluate is denied, and said.

MiniStack takes a condition that it does not know for one that is not met, so that a denial under it does not deny; it
does not fill in policy variables, takes a statement without resources for one about all, and lets ``*`` in an ARN reach
over its colons and stop at a line break.  See "IAM JSON policy elements" in the IAM User Guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import tagging

from defectory.local.server.hooks import replace, require

KEYS = frozenset(
    {
        # Of every request.
        *("aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:principalorgid", "aws:userid"),
        *("aws:username", "aws:currenttime", "aws:epochtime", "aws:requestedregion", "aws:securetransport"),
        *("aws:sourceip", "aws:tagkeys", "aws:resourceaccount", "aws:multifactorauthpresent", "aws:tokenissuetime"),
        *("aws:principalisawsservice", "aws:viaawsservice"),
        # Of what a service does: whose it is.  Of a request of somebody's own there are none.
        *("aws:sourcearn", "aws:sourceaccount", "aws:sourceowner", "aws:calledvia", "aws:calledvialast"),
        # Nothing here is in a VPC.
        *("aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"),
        *("iam:passedtoservice", "sts:externalid", "sts:rolesessionname"),
        *("kms:viaservice", "kms:calleraccount", "kms:grantisforawsresource"),
        *("s3:prefix", "s3:delimiter", "s3:max-keys", "s3:resourceaccount", "s3:tlsversion"),
        *("s3:x-amz-server-side-encryption", "s3:x-amz-acl"),
        *("dynamodb:attributes", "dynamodb:select", "dynamodb:enclosingoperation"),
        "cloudwatch:namespace",
    }
)
"""The condition keys that requests are evaluated with, in lower case."""

KEY_FAMILIES = (
    *("aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"),
    *("s3:existingobjecttag/", "s3:x-amz-grant-"),
)
"""Keys whose end is a name."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_TAG = "aws:resourcetag/"
# Services added here, whose tags MiniStack does not know.
_UNTAGGED = ("sagemaker:", "codepipeline:", "codebuild:")
# A trust policy, and a policy of a repository, say not what they are about: it is what they belong to.
_ABOUT_THEMSELVES = ("sts:", "ecr:")
_SETS = ("forallvalues:", "foranyvalue:")


class NotUnderstood(Exception):
    """A statement that is about the request, and that nobody here can evaluate."""


def mend_evaluator() -> None:
    """Let MiniStack's evaluator decide as AWS does."""

    @replace(iam_evaluator, "_fnmatch_compile", "pattern", "ignore_case")
    def compile_pattern(_: Any, pattern: str, ignore_case: bool) -> re.Pattern[str]:  # noqa: ANN401
        return _compiled(pattern, ignore_case)

    @replace(iam_evaluator, "_first_match", "ctx", "stmts", "effect")
    def first_match(_: Any, ctx: Any, stmts: Sequence[Any], effect: str) -> Any:  # noqa: ANN401
        return next((stmt for stmt in stmts if stmt.effect == effect and _is_about(stmt, ctx)), None)

    @replace(iam_evaluator, "_conditions_met", "conditions", "ctx")
    def conditions_met(original: Any, conditions: Any, ctx: Any) -> bool:  # noqa: ANN401
        if not conditions:
            return True
        understood = _understood(conditions, ctx)
        return understood is not None and bool(original(understood, ctx))

    @replace(iam_evaluator, "_resolve_condition_key", "key", "ctx")
    def resolve(original: Any, key: str, ctx: Any) -> Any:  # noqa: ANN401
        if not key.lower().startswith(_TAG):
            return original(key, ctx)
        if ctx.action.startswith(_UNTAGGED):
            raise NotUnderstood(f"the condition key {key} of {ctx.action.partition(':')[0]}")
        # MiniStack looks for them if the role's own policies ask, not if a boundary or the resource's policy does.
        tags = _resource_tags(ctx.resource_arn) or {}
        return next((value for name, value in tags.items() if name.lower() == key[len(_TAG) :].lower()), None)

    @replace(iam_evaluator, "_evaluate_single_condition", "operator", "actual", "expected_values")
    def evaluate(original: Any, operator: str, actual: Any, expected: list[str]) -> bool:  # noqa: ANN401
        if not isinstance(actual, list) or operator.lower().startswith(_SETS):
            return bool(original(operator, actual, expected))
        if operator.lower() == "null":
            return bool(original(operator, actual or None, expected))
        # Of several values one that fits is enough, and one that must not fit is too much.
        negated = operator.lower().removesuffix("ifexists") in _negated
        return (all if negated else any)(original(operator, value, expected) for value in actual)

    @replace(iam_evaluator, "_principal_matches", "principal", "caller_arn")
    def principal_matches(original: Any, principal: Any, caller_arn: str) -> bool:  # noqa: ANN401
        named = principal.get("AWS", []) if isinstance(principal, Mapping) else principal
        for name in [named] if isinstance(named, str) else named:
            if name != "*" and ("*" in name or "?" in name):
                raise NotUnderstood(f"the principal {name}: AWS takes * alone, or whole ARNs")
        return bool(original(principal, caller_arn))

    for name in ("evaluate_resource_policy", "evaluate_trust_policy"):
        _refuse_what_names_no_principal(name)
    for operator in ("arnequals", "arnlike"):
        _operators[operator] = arn_matches
    for operator in ("arnnotequals", "arnnotlike"):
        _operators[operator] = lambda actual, expected: not arn_matches(actual, expected)


def arn_matches(arn: str, pattern: str) -> bool:
    """Whether an ARN fits a pattern, each of its six parts by itself: ``*`` reaches over no colon but in the last."""
    if pattern == "*":
        return True
    parts, patterns = arn.split(":", 5), pattern.split(":", 5)
    if len(parts) < 6:
        return bool(_compiled(pattern, False).match(arn))
    # AWS fills up a pattern with less than six parts.
    patterns += ["*"] * (6 - len(patterns)) if pattern.startswith("arn:") else []
    return len(patterns) == 6 and all(
        _compiled(each, False).match(part) for part, each in zip(parts, patterns, strict=True)
    )


@lru_cache(maxsize=4096)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    text = "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern)
    # Keys of S3 may hold line breaks.
    return re.compile(rf"\A{text}\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _refuse_what_names_no_principal(name: str) -> None:
    @replace(iam_evaluator, name)
    def evaluate(original: Any, document: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        parsed = json.loads(document) if isinstance(document, str) and document else document
        statements = parsed.get("Statement", []) if isinstance(parsed, Mapping) else []
        for statement in [statements] if isinstance(statements, Mapping) else statements:
            if "NotPrincipal" in statement:
                raise NotUnderstood("NotPrincipal")
        return original(parsed, *arguments, **named)


def _is_about(statement: Any, ctx: Any) -> bool:  # noqa: ANN401
    """Whether a statement is about a request: its action, its resource, and its conditions."""
    if not (statement.actions or statement.not_actions):
        raise NotUnderstood(f"a statement without actions: {statement.sid or 'without Sid'}")
    if not _action_matches(ctx.action, statement.actions, statement.not_actions):
        return False
    if statement.resources:
        if not any(_resource_fits(pattern, ctx) for pattern in statement.resources):
            return False
    elif statement.not_resources:
        excluded = [_filled(pattern, ctx) for pattern in statement.not_resources]
        if any(pattern is None or arn_matches(ctx.resource_arn, pattern) for pattern in excluded):
            return False
    elif not ctx.action.startswith(_ABOUT_THEMSELVES):
        raise NotUnderstood(f"a statement without resources: {statement.sid or 'without Sid'}")
    return bool(_conditions_met(statement.conditions, ctx))


def _resource_fits(pattern: str, ctx: Any) -> bool:  # noqa: ANN401
    filled = _filled(pattern, ctx)
    return filled is not None and arn_matches(ctx.resource_arn, filled)


def _understood(conditions: Any, ctx: Any) -> Mapping[str, Mapping[str, Sequence[str]]] | None:  # noqa: ANN401
    """Conditions, with every operator and key known, and variables filled in; None if one has no value."""
    if not isinstance(conditions, Mapping):
        raise NotUnderstood(f"the condition {conditions}")
    understood: dict[str, dict[str, list[str]]] = {}
    for operator, expectations in conditions.items():
        plain = operator.lower()
        for prefix in _SETS:
            plain = plain.removeprefix(prefix)
        if plain != "null" and plain.removesuffix("ifexists") not in _operators:
            raise NotUnderstood(f"the condition operator {operator}")
        if not isinstance(expectations, Mapping):
            raise NotUnderstood(f"the condition {operator}: {expectations}")
        for key, expected in expectations.items():
            if key.lower() not in KEYS and not key.lower().startswith(KEY_FAMILIES):
                raise NotUnderstood(f"the condition key {key}")
            values = expected if isinstance(expected, list) else [expected]
            texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
            filled = [_filled(value, ctx) for value in texts]
            if None in filled:
                return None
            understood.setdefault(operator, {})[key] = [value for value in filled if value is not None]
    return understood


def _filled(text: str, ctx: Any) -> str | None:  # noqa: ANN401
    """A pattern with its policy variables filled in; None if there is one that the request has not."""
    if "${" not in text:
        return text
    missing = False

    def value(variable: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = variable[1].partition(",")
        if name.lower() not in KEYS and not name.lower().startswith(KEY_FAMILIES):
            raise NotUnderstood(f"the policy variable {variable[0]}")
        found = _resolve(name, ctx)
        if found is None and default:
            found = default.strip().strip("'")
        if found is None or isinstance(found, list):
            missing = True
            return ""
        if "*" in str(found) or "?" in str(found):
            raise NotUnderstood(f"a wildcard in what {variable[0]} stands for")
        return str(found)

    filled = _VARIABLE.sub(value, text)
    return None if missing else filled


_operators: dict[str, Any] = require(iam_evaluator, "_CONDITION_OPS")
_negated: frozenset[str] = require(iam_evaluator, "_NEGATED_OPS")
_action_matches = require(iam_evaluator, "_action_matches", "request_action", "actions", "not_actions")
_conditions_met = require(iam_evaluator, "_conditions_met", "conditions", "ctx")
_resolve = require(iam_evaluator, "_resolve_condition_key", "key", "ctx")
_resource_tags = require(tagging, "resource_tags")
