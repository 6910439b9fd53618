"""A state machine in Step Functions: start it once for each name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.client import BaseClient

from defectory.aws.clients import aws_client, code_behind, service_errors
from defectory.errors import ServiceError


class StateMachine:
    """The state machine with this ARN.  Every method may raise ``ServiceError``."""

    def __init__(self, arn: str, client: BaseClient | None = None) -> None:
        self._arn = arn
        self._client = client or aws_client("stepfunctions")

    def start(self, name: str, start_with: Mapping[str, Any]) -> bool:
        """Start an execution.

        Returns:
            False if the name has been used already: what it stands for runs, or has run.
        """
        try:
            with service_errors(f"start execution {name}"):
                self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(start_with))
        except ServiceError as error:
            if code_behind(error) == "ExecutionAlreadyExists":
                return False
            raise
        return True
