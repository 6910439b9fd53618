"""Whether a request was signed by somebody who knows a secret of this cloud: Signature Version 4, as AWS verifies it.

The account's own key has the secret that is made anew for each start; keys that IAM and STS of this cloud gave out have
theirs.  Presigned addresses are signatures as well, in the query.  See "AWS Signature Version 4 for API requests" in
the IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_evaluator, sigv4

from defectory.local.server.authorization.authority import Caller
from defectory.local.server.hooks import require

DIGEST = "x-amz-content-sha256"
_STREAMED = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_ALGORITHM = "AWS4-HMAC-SHA256"
_HEADER = re.compile(r"AWS4-HMAC-SHA256 +Credential=[^,\s=]+, ?SignedHeaders=[a-z0-9_.;-]+, ?Signature=[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")
_QUERY_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")
# Seven days, as in AWS.
_LONGEST_LINK = 604_800
_FRESH = (
    "Every start of the local cloud makes a new secret: take the variables that 'defectory local status --env' prints."
)


class Denied(Exception):
    """A request that AWS would refuse, with AWS's error code."""

    def __init__(self, code: str, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What is signed of a request; a header that came on several lines is one, and names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> SignedRequest:
        """The request of a scope of ASGI."""
        headers: dict[str, str] = {}
        for raw, value in scope["headers"]:
            name, text = raw.decode("latin-1").lower(), _decode(value)
            headers[name] = f"{headers[name]},{text}" if name in headers else text
        query = parse_qs(scope.get("query_string", b"").decode("utf-8", "replace"), keep_blank_values=True)
        return cls(scope["method"], (scope.get("raw_path") or scope["path"].encode()).decode("latin-1"), query, headers)

    @property
    def presigned(self) -> bool:
        """Whether the signature is in the query, or claims to be."""
        return not self.query.keys().isdisjoint(_QUERY_NAMES)


@dataclass(frozen=True, slots=True)
class Claim:
    """A signature of a key that is known and of a time that is allowed; whether it is right is still to be seen."""

    request: SignedRequest
    signature: Any
    secret: str
    # Nobody but the operator, if there is none.
    caller: Caller | None

    @property
    def service(self) -> str:
        return str(self.signature.service)

    @property
    def payload(self) -> str | None:
        """What was signed in the place of the body's digest; None if that is the digest of what comes."""
        if self.request.presigned and self.service == "s3":
            return "UNSIGNED-PAYLOAD"
        return self.request.headers.get(DIGEST)

    def check(self, digest: str | None = None) -> None:
        """Verify the signature of all but the body, or with the ``digest`` of a body for which none was signed.

        Raises:
            Denied: it is wrong.
        """
        if not self._streamed:
            headers = self.request.headers if digest is None else {**self.request.headers, DIGEST: digest}
            self._verify(headers, b"")
            return
        # Of a body in signed pieces, what was signed before the first; the pieces are verified when they are there.
        request, scope = self.request, (self.signature.date_stamp, self.signature.region, self.service)
        signed = (request.method, request.path, request.query, request.headers)
        _, text = _documents(self.signature, *signed, b"", presigned=request.presigned)
        if not _match(_calculate(self.secret, *scope, text), self.signature.signature):
            raise Denied("SignatureDoesNotMatch", f"{_MISMATCH} {_FRESH}")

    def check_body(self, digest: str, pieces: list[bytes]) -> None:
        """Verify the body against what was signed in its place.

        Raises:
            Denied: it is another.
        """
        if self._streamed:
            self._verify(self.request.headers, b"".join(pieces))
        elif self.payload not in (None, digest, *_UNSIGNED):
            message = f"The provided '{DIGEST}' header does not match what was computed."
            if self.service == "s3":
                raise Denied("XAmzContentSHA256Mismatch", message, status=400)
            raise Denied("SignatureDoesNotMatch", message)

    @property
    def _streamed(self) -> bool:
        return self.payload in _STREAMED

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        request = self.request
        signed = (request.method, request.path, request.query, headers)
        if failure := _failure(self.signature, self.secret, *signed, body, presigned=request.presigned):
            raise Denied(failure[0], f"{failure[1]} {_FRESH}")


class Signatures:
    """Those who may sign requests."""

    def __init__(self, account: str, secret: str) -> None:
        self._account, self._secret = account, secret

    def claim(self, request: SignedRequest) -> Claim:
        """What a request says of who signed it and when.

        Raises:
            Denied: nobody did, or nobody known, or at another time.
        """
        signature = self._of_query(request) if request.presigned else self._of_header(request)
        _check_date(signature)
        signed = signature.signed_headers.split(";")
        # The digest is part of what is signed, whether named among the headers or not.
        optional = () if request.presigned else (DIGEST,)
        needed = ["host", *(name for name in request.headers if name.startswith("x-amz-") and name not in optional)]
        if missing := [name for name in needed if name not in signed]:
            message = f"There were headers present in the request which were not signed: {', '.join(missing)}"
            raise Denied("AccessDenied" if signature.service == "s3" else "SignatureDoesNotMatch", message)
        self._check_time(request, signature)
        claim = Claim(request, signature, *self._signer(request, signature))
        payload = claim.payload
        if payload is not None and payload not in _UNSIGNED + _STREAMED and not _HEX.fullmatch(payload):
            raise Denied("InvalidRequest", f"The value of {DIGEST} is invalid.", status=400)
        return claim

    def _of_header(self, request: SignedRequest) -> Any:  # noqa: ANN401 - MiniStack has no types
        authorization = request.headers.get("authorization")
        if authorization is None:
            if {"AWSAccessKeyId", "Signature"} <= request.query.keys():
                message = (
                    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256: "
                    "with boto3, Config(signature_version='s3v4')."
                )
                raise Denied("InvalidRequest", message, status=400)
            raise Denied("MissingAuthenticationToken", f"The request is not signed. {_FRESH}")
        if not _HEADER.fullmatch(authorization):
            raise Denied("IncompleteSignature", f"The header Authorization is not one of {_ALGORITHM}.", status=400)
        return _parsed(_parse_header(request.headers))

    def _of_query(self, request: SignedRequest) -> Any:  # noqa: ANN401 - MiniStack has no types
        if "authorization" in request.headers:
            raise Denied("InvalidArgument", "Only one auth mechanism allowed", status=400)
        names = [name.lower() for name, values in request.query.items() for _ in values]
        for name in _QUERY_NAMES:
            if request.query.get(name, [""])[0] == "" or names.count(name.lower()) != 1:
                raise Denied("AuthorizationQueryParametersError", f"The query needs {name}, once.", status=400)
        if request.query["X-Amz-Algorithm"] != [_ALGORITHM]:
            message = f"X-Amz-Algorithm only supports {_ALGORITHM}"
            raise Denied("AuthorizationQueryParametersError", message, status=400)
        return _parsed(_parse_query(request.query))

    def _check_time(self, request: SignedRequest, signature: Any) -> None:  # noqa: ANN401 - MiniStack has no types
        s3 = signature.service == "s3"
        expires = request.query.get("X-Amz-Expires")
        if not request.presigned or (expires is None and not s3):
            if skewed := _time_failure(signature):
                raise Denied(skewed[0] if s3 else "RequestExpired", skewed[1])
            return
        text = expires[0] if expires and len(expires) == 1 else ""
        if not text.isascii() or not text.isdigit() or len(text) > 6 or not 0 < int(text) <= _LONGEST_LINK:
            message = f"X-Amz-Expires must be a number of seconds from 1 to {_LONGEST_LINK}"
            raise Denied("AuthorizationQueryParametersError", message, status=400)
        now = datetime.now(UTC)
        # A link is good from a quarter of an hour before it was made, for the sake of clocks, until it expires.
        if _time_failure(replace(signature, amz_date=max(signature.amz_date, f"{now:%Y%m%dT%H%M%SZ}")), now=now):
            raise Denied("AccessDenied", "Request is not yet valid")
        if _expired(signature.amz_date, text, now=now):
            raise Denied("AccessDenied" if s3 else "RequestExpired", "Request has expired")

    def _signer(self, request: SignedRequest, signature: Any) -> tuple[str, Caller | None]:  # noqa: ANN401
        key = signature.access_key_id
        if key == self._account:
            return self._secret, None
        unknown = "InvalidAccessKeyId" if signature.service == "s3" else "InvalidClientTokenId"
        # MiniStack would take any twelve digits for another account, with the same secret.
        if not _is_root(key):
            if request.presigned:
                token = (request.query.get("X-Amz-Security-Token") or [""])[0]
            else:
                token = request.headers.get("x-amz-security-token", "")
            resolution = _resolve(key, self._account, token)
            if isinstance(resolution, _Resolved):
                root = resolution.principal_type == "Root"
                return str(resolution.secret_access_key), None if root else Caller(key, resolution.principal_arn)
            if resolution.code.startswith("Expired"):
                raise Denied(resolution.code, resolution.message)
        raise Denied(unknown, f"The AWS access key id is none of this local cloud, whose is {self._account}. {_FRESH}")


def _check_date(signature: Any) -> None:  # noqa: ANN401 - MiniStack has no types
    # MiniStack takes a time that it cannot read for one that is allowed.
    try:
        datetime.strptime(signature.amz_date, "%Y%m%dT%H%M%SZ")
    except ValueError:
        raise Denied("SignatureDoesNotMatch", "X-Amz-Date must be a time such as 20260131T120000Z") from None
    if signature.date_stamp != signature.amz_date[:8]:
        raise Denied("SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD from X-Amz-Date.")


def _parsed(parsed: Any) -> Any:  # noqa: ANN401 - MiniStack has no types
    if isinstance(parsed, tuple):
        raise Denied(*parsed, status=400)
    return parsed


_decode = require(sigv4, "decode_header_value", "value")
_parse_header = require(sigv4, "parse_header_signature", "headers")
_parse_query = require(sigv4, "parse_query_signature", "query_params")
_time_failure = require(sigv4, "request_time_failure", "signature", "now")
_expired = require(sigv4, "presigned_request_is_expired", "amz_date", "expires", "now")
_failure = require(
    sigv4, "header_signature_failure", "signature", "secret", "method", "raw_path", "query_params", "headers", "body"
)
_documents = require(
    sigv4, "header_signing_documents", "signature", "method", "raw_path", "query_params", "headers", "body", "presigned"
)
_calculate = require(sigv4, "calculate_signature", "secret", "date_stamp", "region", "service", "string_to_sign")
_MISMATCH = require(sigv4, "SIGNATURE_MISMATCH")
_match = require(sigv4, "signatures_match", "computed", "provided")
_is_root = require(iam_evaluator, "is_root_access_key", "access_key_id")
_resolve = require(iam_evaluator, "resolve_credential", "access_key_id", "account_id", "session_token")
_Resolved = require(iam_evaluator, "ResolvedCredential")
