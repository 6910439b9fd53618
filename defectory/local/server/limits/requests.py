"""Limits of a whole request: of its body, its headers, its address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import s3

from defectory.local.server.authorization.requirements import Request
from defectory.local.server.hooks import require
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.limits.rules import KIB, MIB, check_bucket_name

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html; 1 MB of events since October 2025
INVOCATION, EVENT = 6 * MIB, MIB
# 50 MB of a package as text in the request, and what is around it.
PACKAGE_REQUEST = 69_905_067
METRICS = MIB
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html, UsingMetadata.html, qfacts.html
KEY, METADATA, DELETED, PART = KIB, 2 * KIB, 1000, 5 * MIB

_METADATA = "x-amz-meta-"
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"


def check_size(action: str, request: Request) -> None:
    """Raise ``LimitExceeded`` if the body is longer than the action's may be."""
    if action in _SIZES:
        _SIZES[action](request)


def check_s3(request: Request) -> None:
    """Raise ``LimitExceeded`` if S3 would refuse the request for a key, metadata, a list, a part or a bucket's name."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    _check_key(key)
    if request.method in ("PUT", "POST"):
        _check_metadata(request.headers)
        if not key and request.method == "PUT" and not request.query:
            check_bucket_name(bucket)
        elif not key and "delete" in request.query:
            _check_deleted(request.body)
        elif key and "uploadId" in request.query and request.method == "POST":
            _check_parts(request)


def _invocation(request: Request) -> None:
    size, kind = len(request.body), request.headers.get("x-amz-invocation-type", "RequestResponse")
    if kind == "Event" and size > EVENT:
        raise _too_large(f"{size} byte payload is too large for the Event invocation type (limit {EVENT} bytes)")
    if size > INVOCATION:
        raise _too_large(f"Request must be smaller than {INVOCATION} bytes for the InvokeFunction operation")


def _package(operation: str) -> Callable[[Request], None]:
    def check(request: Request) -> None:
        if len(request.body) > PACKAGE_REQUEST:
            raise _too_large(f"Request must be smaller than {PACKAGE_REQUEST} bytes for the {operation} operation")

    return check


def _metrics(request: Request) -> None:
    # As it was sent: boto3 compresses it.
    sent = request.headers.get("content-length", "")
    if (int(sent) if sent.isdecimal() else len(request.body)) > METRICS:
        raise LimitExceeded("RequestEntityTooLarge", f"Request must be smaller than {METRICS} bytes", 413)


def _too_large(message: str) -> LimitExceeded:
    # So on the wire, where the model has RequestTooLargeException.
    return LimitExceeded("RequestEntityTooLargeException", message, 413)


_SIZES: Mapping[str, Callable[[Request], None]] = {
    "cloudwatch:PutMetricData": _metrics,
    "lambda:CreateFunction": _package("CreateFunction"),
    "lambda:InvokeFunction": _invocation,
    "lambda:UpdateFunctionCode": _package("UpdateFunctionCode"),
}


def _check_key(key: str) -> None:
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > KEY:
        details = {"Size": str(size), "MaxSizeAllowed": str(KEY)}
        raise LimitExceeded("KeyTooLongError", "Your key is too long", details=details)


def _check_metadata(headers: Mapping[str, str]) -> None:
    size = sum(
        len(name) - len(_METADATA) + len(value.encode("utf-8", "surrogatepass"))
        for name, value in headers.items()
        if name.startswith(_METADATA)
    )
    if size > METADATA:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        details = {"Size": str(size), "MaxSizeAllowed": str(METADATA)}
        raise LimitExceeded("MetadataTooLarge", message, details=details)


def _check_deleted(body: bytes) -> None:
    tags = _tags(body)
    keys = [element.text or "" for element in tags if element.tag.endswith("Key")]
    if sum(element.tag.endswith("Object") for element in tags) > DELETED:
        raise LimitExceeded("MalformedXML", _MALFORMED)
    for key in keys:
        _check_key(key)


def _check_parts(request: Request) -> None:
    """All parts but the last have a least size."""
    upload = _uploads.get(_first(request.query["uploadId"])) or {"parts": {}}
    texts = [element.text or "" for element in _tags(request.body) if element.tag.endswith("PartNumber")]
    numbers = sorted(int(text) for text in texts if text.isdecimal())
    for number in numbers[:-1]:
        size = (upload["parts"].get(number) or {"size": PART})["size"]
        if size < PART:
            message = "Your proposed upload is smaller than the minimum allowed size"
            details = {"ProposedSize": str(size), "MinSizeAllowed": str(PART), "PartNumber": str(number)}
            raise LimitExceeded("EntityTooSmall", message, details=details)


def _tags(body: bytes) -> list[Any]:
    """The elements of a document; none, if it cannot be read, which S3 tells."""
    try:
        return list(_xml(body).iter())
    except _xml_error:
        return []


def _first(value: Any) -> str:  # noqa: ANN401
    return str(value[0] if isinstance(value, list) else value)


_uploads = require(s3, "_multipart_uploads")
# Its parser, which expands no entities.
_xml, _xml_error = require(s3, "fromstring"), require(s3, "ParseError")
