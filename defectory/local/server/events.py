"""EventBridge: what the cloud's own services tell it, and how its rules call functions.

A rule calls a function asynchronously: what fails is tried again, and then goes to the function's on-failure
destination.  MiniStack calls once and forgets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import eventbridge, lambda_svc

from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Extension


class Events(Extension):
    """The default event bus."""

    def __init__(self) -> None:
        self._put = require(eventbridge, "_put_events", "data", "allow_aws_source")
        function_of = require(lambda_svc, "_get_func_record_for_ref")
        record_for = require(lambda_svc, "_execution_record_for_config", "func", "config")
        invoke_later = require(lambda_svc, "invoke_async_with_retry", "func", "event")

        @replace(eventbridge, "_dispatch_to_lambda", "arn", "payload")
        def dispatch(original: Any, arn: str, payload: str) -> None:  # noqa: ANN401
            function, config, _ = function_of(arn)
            if function and config:
                invoke_later(record_for(function, config), json.loads(payload))
            else:
                # Says in the log that there is no such function.
                original(arn, payload)

    def emit(self, source: str, detail_type: str, resource: str, detail: Mapping[str, object]) -> None:
        """Put an event of an AWS service, such as ``aws.codepipeline``, on the default bus of the current scope."""
        entry = {"Source": source, "DetailType": detail_type, "Resources": [resource], "Detail": json.dumps(detail)}
        self._put({"Entries": [entry]}, allow_aws_source=True)
