"""What a check of the doctor finds, and how it reaches the account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from botocore.client import BaseClient

Status = Literal["well", "warning", "fails", "unknown"]
Connect = Callable[[str, str], BaseClient]
"""A client of a service in a region."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    ``well``: nothing is in the way.  ``warning``: it works, with a drawback.  ``fails``: the deployment or its use
    would fail; ``fix`` says what to do, as a command where there is one.  ``unknown``: the question was not answered.
    """

    check: str
    status: Status
    detail: str
    fix: str = ""
