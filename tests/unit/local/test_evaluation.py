"""Corners of the evaluation of policies, each as the IAM User Guide has it; what is not understood never allows."""

from typing import Any

import pytest
from ministack.core import iam_evaluator
from ministack.services import tagging

from defectory.local.server.authorization.evaluation import NotUnderstood, arn_matches, mend_evaluator

KEY = "arn:aws:s3:::album/closed/photo"
ALLOW = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
CALLER = "arn:aws:sts::123456789012:assumed-role/reader/visit"


@pytest.fixture(scope="module", autouse=True)
def mended() -> None:
    mend_evaluator()


def context(action: str = "s3:GetObject", resource: str = KEY, **keys: Any) -> Any:
    return iam_evaluator.EvalContext(
        principal_arn=CALLER,
        principal_type="AssumedRole",
        principal_account="123456789012",
        action=action,
        resource_arn=resource,
        region="us-east-1",
        secure_transport=True,
        service_context={name.replace("__", ":").replace("_", "-"): value for name, value in keys.items()},
        principal_keys={"aws:principaltag/team": "red", "aws:userid": "id:visit", "aws:principaltag/odd": "*"},
    )


def decision(*statements: dict[str, Any], **request: Any) -> str:
    parsed = iam_evaluator.parse_policy_document({"Statement": list(statements)})
    return str(iam_evaluator.evaluate(context(**request), [parsed]).decision)


def under(condition: dict[str, Any], effect: str = "Allow", **request: Any) -> str:
    """The decision of a statement under a condition, beside one that allows everything if it denies."""
    statement = {**ALLOW, "Effect": effect, "Condition": condition}
    return decision(statement, *([ALLOW] if effect == "Deny" else []), **request)


def denying(pattern: str, resource: str) -> str:
    return decision(ALLOW, {"Effect": "Deny", "Action": "s3:*", "Resource": pattern}, resource=resource)


@pytest.mark.parametrize("key", ["closed/a\nb", "closed/a\n", "closed/\u2028"])
def test_a_line_break_in_a_key_does_not_slip_past_a_denial(key: str) -> None:
    assert denying("arn:aws:s3:::album/closed/*", resource=f"arn:aws:s3:::album/{key}") == "Deny"


def test_a_key_that_ends_in_a_line_break_is_another() -> None:
    granting = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::album/a"}
    assert decision(granting, resource="arn:aws:s3:::album/a\n") == "ImplicitDeny"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("arn:aws:sqs:us-east-1:123456789012:uploads", True),
        ("arn:aws:sqs:*:123456789012:up*", True),
        ("arn:aws:sqs:us-east-1:123456789012:upload?", True),
        ("arn:aws:sqs:us-east-1:123456789012:Uploads", False),
        # Over a colon no wildcard reaches but in the last part.
        ("arn:aws:sqs:*:uploads", False),
        ("arn:*:uploads", False),
        # AWS fills up what is too short.
        ("arn:aws:sqs", True),
    ],
)
def test_each_part_of_an_arn_is_matched_by_itself(pattern: str, fits: bool) -> None:
    assert arn_matches("arn:aws:sqs:us-east-1:123456789012:uploads", pattern) is fits
    assert under({"ArnLike": {"aws:SourceArn": pattern}}, aws__sourcearn="x") == (
        "Allow" if pattern == "*" else "ImplicitDeny"
    )


def test_the_last_part_of_an_arn_may_have_colons() -> None:
    stream = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f:log-stream:s"
    assert arn_matches(stream, "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f:*")


@pytest.mark.parametrize("action", ["s3:GetObject", "S3:getobject", "s3:Get*", "s3:GetObjec?"])
def test_actions_know_no_case(action: str) -> None:
    assert decision({**ALLOW, "Action": action}) == "Allow"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"NotAction": "s3:Put*", "Resource": "*"}, "Allow"),
        ({"NotAction": "s3:Get*", "Resource": "*"}, "ImplicitDeny"),
        ({"Action": "s3:*", "NotResource": "arn:aws:s3:::album/open/*"}, "Allow"),
        ({"Action": "s3:*", "NotResource": "arn:aws:s3:::album/closed/*"}, "ImplicitDeny"),
        ({"Action": "s3:*", "NotResource": "arn:aws:s3:::album/${aws:username}/*"}, "ImplicitDeny"),
    ],
)
def test_what_is_left_out_is_left_out(statement: dict[str, Any], expected: str) -> None:
    assert decision({"Effect": "Allow", **statement}) == expected


@pytest.mark.parametrize(
    ("condition", "keys", "met"),
    [
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"Null": {"s3:prefix": True}}, {}, True),
        ({"Null": {"s3:prefix": "false"}}, {}, False),
        ({"Null": {"s3:prefix": "false"}}, {"s3__prefix": "open/"}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "open/"}}, {}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "open/"}}, {"s3__prefix": "closed/"}, False),
        ({"StringNotEquals": {"s3:prefix": ["open/", "closed/"]}}, {"s3__prefix": "closed/"}, False),
        ({"StringNotEquals": {"s3:prefix": "open/"}}, {}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, {}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, {"aws__tagkeys": ["team", "cost"]}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}, {}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}, {"aws__tagkeys": ["cost", "team"]}, True),
        # Several values and an operator for one: what fits is enough, what must not fit too much.
        ({"StringEquals": {"aws:TagKeys": "team"}}, {"aws__tagkeys": ["cost", "team"]}, True),
        ({"StringNotEquals": {"aws:TagKeys": "team"}}, {"aws__tagkeys": ["cost", "team"]}, False),
        ({"StringLike": {"s3:prefix": "${aws:PrincipalTag/team}/*"}}, {"s3__prefix": "red/a"}, True),
        ({"StringLike": {"s3:prefix": "${aws:PrincipalTag/team}/*"}}, {"s3__prefix": "blue/a"}, False),
        ({"StringNotLike": {"s3:prefix": "${aws:PrincipalTag/none}/*"}}, {"s3__prefix": "blue/a"}, False),
        ({"StringLike": {"s3:prefix": "${aws:PrincipalTag/none, 'all'}/*"}}, {"s3__prefix": "all/a"}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, {}, True),
        ({"Bool": {"aws:SecureTransport": False}}, {}, False),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3__tlsversion": "1.3"}, False),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::album"}}, {"aws__sourcearn": "arn:aws:s3:::album"}, True),
        ({"StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"}}, {"s3__prefix": "a"}, False),
    ],
)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_conditions(condition: dict[str, Any], keys: dict[str, Any], met: bool, effect: str) -> None:
    met_decision, unmet = ("Allow", "ImplicitDeny") if effect == "Allow" else ("Deny", "Allow")
    assert under(condition, effect, **keys) == (met_decision if met else unmet)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"StringMatches": {"s3:prefix": "x"}}, "the condition operator StringMatches"),
        ({"ForSomeValues:StringEquals": {"aws:TagKeys": "x"}}, "the condition operator ForSomeValues:StringEquals"),
        ({"StringEquals": {"s3:signatureAge": "x"}}, "the condition key s3:signatureAge"),
        ({"StringNotEqualsIfExists": {"aws:Unheard": "x"}}, "the condition key aws:Unheard"),
        ({"StringEquals": "s3:prefix"}, "the condition StringEquals: s3:prefix"),
        ({"StringLike": {"s3:prefix": "${s3:unheard}"}}, r"the policy variable \$\{s3:unheard\}"),
        ({"StringLike": {"s3:prefix": "${aws:PrincipalTag/odd}"}}, "a wildcard in what"),
        ({"StringLike": {"s3:prefix": "${*}"}}, "the policy variable"),
    ],
)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_a_condition_that_nobody_understands_is_not_passed_over(
    condition: dict[str, Any], words: str, effect: str
) -> None:
    with pytest.raises(NotUnderstood, match=words):
        under(condition, effect, s3__prefix="x")


def test_a_condition_about_something_else_is_no_matter() -> None:
    other = {"Effect": "Deny", "Action": "ec2:*", "Resource": "*", "Condition": {"Unheard": {"of": "x"}}}
    assert decision(ALLOW, other) == "Allow"


def test_a_resource_may_have_variables() -> None:
    own = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::album/${aws:PrincipalTag/team}/*"}
    assert decision(own, resource="arn:aws:s3:::album/red/x") == "Allow"
    assert decision(own, resource="arn:aws:s3:::album/blue/x") == "ImplicitDeny"
    assert denying("arn:aws:s3:::album/${aws:PrincipalTag/team}/*", resource="arn:aws:s3:::album/red/x") == "Deny"


@pytest.mark.parametrize("incomplete", [{"Action": "s3:*", "Resource": []}, {"Action": [], "Resource": "*"}])
def test_a_statement_about_nothing_is_none_about_everything(incomplete: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood, match="a statement without"):
        decision({"Effect": "Allow", **incomplete})


def resource_decision(*statements: dict[str, Any], service: str = "") -> str:
    document = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", **each} for each in statements]}
    return str(iam_evaluator.evaluate_resource_policy(document, context(), service=service or None).decision)


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", "Allow"),
        ({"AWS": CALLER}, "Allow"),
        ({"AWS": "arn:aws:iam::123456789012:role/reader"}, "Allow"),
        ({"AWS": "arn:aws:iam::123456789012:role/writer"}, "ImplicitDeny"),
        ({"AWS": "123456789012"}, "Allow"),
        ({"AWS": "arn:aws:iam::210987654321:root"}, "ImplicitDeny"),
        ({"Service": "s3.amazonaws.com"}, "ImplicitDeny"),
    ],
)
def test_principals_of_resource_policies(principal: Any, expected: str) -> None:
    assert resource_decision({"Principal": principal}) == expected


@pytest.mark.parametrize(
    "statement",
    [
        {"NotPrincipal": {"AWS": CALLER}, "Effect": "Deny"},
        {"Principal": {"AWS": "arn:aws:iam::123456789012:role/*"}},
    ],
)
def test_principals_that_nobody_understands_are_not_passed_over(statement: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood, match="rincipal"):
        resource_decision({"Principal": "*"}, statement)


def test_a_trust_policy_needs_what_its_conditions_name() -> None:
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": "123456789012"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "from the contract"}},
    }
    trusting = lambda **keys: iam_evaluator.evaluate_trust_policy(  # noqa: E731
        {"Statement": trust}, CALLER, context("sts:AssumeRole", "arn:aws:iam::123456789012:role/r", **keys)
    )
    assert trusting(sts__externalid="from the contract")
    assert not trusting(sts__externalid="another")
    assert not trusting()


def test_tags_of_a_resource_count_for_every_kind_of_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "resource_tags", lambda arn: {"Secret": "yes"} if arn == KEY else {})
    hidden = {"StringEquals": {"aws:ResourceTag/secret": "yes"}}
    limit = [{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": hidden}, ALLOW]
    parsed = [iam_evaluator.parse_policy_document({"Statement": each}) for each in ([ALLOW], limit)]

    assert iam_evaluator.evaluate(context(), [parsed[0]], [parsed[1]]).decision == "Deny"
    assert iam_evaluator.evaluate(context(resource="arn:aws:s3:::a/b"), [parsed[0]], [parsed[1]]).decision == "Allow"
    with pytest.raises(NotUnderstood, match="of sagemaker"):
        decision({**ALLOW, "Action": "*", "Condition": hidden}, action="sagemaker:InvokeEndpoint")
