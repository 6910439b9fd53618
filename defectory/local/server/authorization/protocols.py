"""Which operation a request asks for, if it says so in one place alone, and of what it says nothing twice.

What is authorized has to be what is done.  The services of MiniStack look for an operation and its parameters in the
header ``X-Amz-Target``, the query and the body, each in an order of its own; a request that names two could be
authorized for the one and do the other.  AWS's clients never make such requests, so they are refused; as are all of
services that nobody has looked at in this regard, or that act by themselves in ways that nobody watches here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import parse_qs

from defectory.local.clients import service_model

Kind = Literal["json", "query", "either", "rest"]

PROTOCOLS: Mapping[str, tuple[Kind, str]] = {
    **{name: ("json", name) for name in ("dynamodb", "ecr", "events", "kms", "logs", "secretsmanager", "ssm")},
    **{name: ("json", name) for name in ("codebuild", "codepipeline", "sagemaker", "budgets")},
    "states": ("json", "stepfunctions"),
    **{name: ("query", name) for name in ("iam", "sns", "sts")},
    "sqs": ("either", "sqs"),
    "monitoring": ("either", "cloudwatch"),
    **{name: ("rest", name) for name in ("lambda", "s3")},
}
"""How requests to a service name what they want, and what botocore calls the service."""

INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
"""The path of SageMaker's InvokeEndpoint, its only operation that is not JSON."""


class Unclear(Exception):
    """A request of which it is not certain what it wants; the message says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request wants: the operation, if it names one, and its parameters, from the one place that has them.

    ``body`` and ``query`` are the request's own, without whatever has no say.
    """

    operation: str
    members: Mapping[str, Any]
    body: bytes
    query: Mapping[str, Any]


def read(
    service: str, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Wish:
    """What a request wants.

    Raises:
        Unclear: it says it in several places, or has parameters that the operation has not, or nobody knows.
    """
    if service not in PROTOCOLS:
        raise Unclear(f"it does not check who may use {service}")
    kind, model = PROTOCOLS[service]
    target = headers.get("x-amz-target", "")
    # Those are of the signature.
    parameters = {name: values for name, values in query.items() if not name.lower().startswith("x-amz-")}
    if kind == "rest" or (service == "sagemaker" and INVOCATION.fullmatch(path)):
        if target or "Action" in parameters:
            raise Unclear("it names an operation beside its path")
        return Wish("", {}, body, query)
    if kind == "json" or (kind == "either" and target):
        if parameters:
            raise Unclear("it has parameters in its query as well as in its body")
        prefix, _, operation = target.rpartition(".")
        if prefix != _prefix(model):
            raise Unclear(f"{target} is not of {model}")
        wish = Wish(operation, _of_json(headers, body), body, {})
    else:
        if target:
            raise Unclear("it names an operation in X-Amz-Target, which the service does not read")
        merged = _of_form(method, body, parameters)
        wish = Wish(merged.pop("Action", [""])[0], merged, b"", merged)
    _check_members(model, wish)
    return wish


def _of_json(headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    if "cbor" in headers.get("content-type", "") + headers.get("smithy-protocol", ""):
        raise Unclear("its protocol is not AWS's JSON")
    try:
        members = json.loads(body or b"{}")
    except ValueError:
        raise Unclear("its body is not JSON") from None
    if not isinstance(members, dict):
        raise Unclear("its body is no JSON object")
    return members


def _of_form(method: str, body: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if body and method != "POST":
        raise Unclear("it has a body without being a POST")
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    merged = {**parameters, **form}
    twice = [*(form.keys() & parameters.keys()), *(name for name, values in merged.items() if len(values) > 1)]
    if twice:
        raise Unclear(f"it has {', '.join(sorted(twice))} twice")
    return merged


def _check_members(model: str, wish: Wish) -> None:
    known = _members(model, wish.operation)
    if known is None:
        raise Unclear(f"{model} has no operation {wish.operation or 'where its protocol has it'}")
    unknown = {name.partition(".")[0] for name in wish.members} - known - {"Version"}
    if unknown:
        raise Unclear(f"{wish.operation} has no parameter {', '.join(sorted(unknown))}")


@cache
def _members(model: str, operation: str) -> frozenset[str] | None:
    """The parameters of an operation, as the wire has them; None if there is no such operation."""
    description = service_model(model)
    if operation not in description.operation_names:
        return None
    shape = description.operation_model(operation).input_shape
    members = shape.members if shape else {}
    return frozenset({*members, *(member.serialization.get("name") or name for name, member in members.items())})


@cache
def _prefix(model: str) -> str:
    """What stands before the operation in X-Amz-Target."""
    return str(service_model(model).metadata.get("targetPrefix", ""))
