"""How a service says that a request is beyond one of its limits."""

from __future__ import annotations

from collections.abc import Mapping

from defectory.local.server.services import ServiceFault


class LimitExceeded(ServiceFault):
    """A request that AWS refuses.

    Attributes:
        code: AWS's name of the error.
        status: of the HTTP response.
        details: what S3 says beside the message, by element.
    """

    def __init__(self, code: str, message: str, status: int = 400, details: Mapping[str, str] | None = None) -> None:
        super().__init__(code, message)
        self.status = status
        self.details = dict(details or {})
