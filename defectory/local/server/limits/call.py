"""What a request asks for, whatever the protocol that carries it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from botocore.parsers import RpcV2CBORParser
from ministack import app

from defectory.local.server.authorization import protocols
from defectory.local.server.authorization.requirements import Request
from defectory.local.server.hooks import require

_CBOR = RpcV2CBORParser()
_ITEM = re.compile(r"(?:member|entry)\.(\d+)")


def read(request: Request) -> Request:
    """A request with its operation, if it names one, and the parameters of its form beside those of its address.

    What the operator alone may ask, because it says things twice, is taken as its service takes it.
    """
    try:
        wish = protocols.read(
            request.service, request.method, request.path, request.headers, request.body, request.query
        )
    except protocols.Unclear:
        query = dict(_routing(request.method, request.path, dict(request.headers), request.body, dict(request.query)))
        return replace(request, query=query, operation=request.headers.get("x-amz-target", "").rpartition(".")[2])
    return replace(request, body=wish.body, query=wish.query, operation=wish.operation)


def members(request: Request) -> dict[str, Any]:
    """The parameters of a request in JSON, CBOR or a form; none, if it cannot be read, which its service tells."""
    kind = request.headers.get("content-type", "")
    try:
        if "cbor" in kind:
            read = _CBOR.parse_data_item(io.BufferedReader(io.BytesIO(request.body)))
        elif "form-urlencoded" in kind or not request.body:
            read = _form(request)
        else:
            read = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _form(request: Request) -> dict[str, Any]:
    """A form as a tree: ``Entries.member.1.Id=a`` is ``{"Entries": [{"Id": "a"}]}``; a map is a list of entries."""
    body = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    tree: dict[str, Any] = {}
    for name, value in {**body, **request.query}.items():
        *parents, last = _ITEM.sub(r"#\1", name).split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value[0] if isinstance(value, list) else value
    return {name: _listed(branch) for name, branch in tree.items()}


def _listed(branch: Any) -> Any:  # noqa: ANN401
    if not isinstance(branch, Mapping):
        return branch
    if branch and all(name.startswith("#") for name in branch):
        return [_listed(branch[name]) for name in sorted(branch, key=lambda name: int(name[1:]))]
    return {name: _listed(value) for name, value in branch.items()}


_routing = require(app, "_routing_params", "method", "path", "headers", "body", "query_params")
