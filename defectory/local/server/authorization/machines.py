"""What a state machine's role needs before any execution: leave to deliver logs, and to hear of the jobs waited for.

AWS refuses to make or change a machine whose role lacks it, also where CloudFormation makes it before the policy:
https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html and
https://docs.aws.amazon.com/step-functions/latest/dg/sagemaker-iam.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from defectory.local.server.authorization.permissions import Access, NotAuthorized, Permissions
from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Scope, ServiceFault

SERVICE = "states.amazonaws.com"
RESOURCE_TYPE = "AWS::StepFunctions::StateMachine"
LOG_DELIVERY = (
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
)
MANAGED_RULES = {
    "sagemaker:createTrainingJob.sync": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "sagemaker:createTransformJob.sync": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "states:startExecution.sync": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}


class Machines:
    """Checks roles of machines as they are made and changed, by API and by template."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions
        self._refuse = require(stepfunctions, "error_response_json")
        self._machines = require(stepfunctions, "_state_machines")
        for name in ("_create_state_machine", "_update_state_machine"):
            self._watch_api(name)
        self._watch_templates()

    def check(self, role_arn: str, name: str, definition: str, logging: Mapping[str, Any]) -> None:
        """Let pass a machine whose role has what it needs.

        Raises:
            ServiceFault: it lacks something, or cannot be assumed.
        """
        session = self._permissions.session(role_arn, name, SERVICE)
        level = str(logging.get("level") or logging.get("Level") or "OFF")
        try:
            if level != "OFF":
                self._permissions.require(session, *map(Access, LOG_DELIVERY))
        except NotAuthorized as denial:
            raise ServiceFault(
                "AccessDeniedException",
                f"The state machine IAM Role is not authorized to access the Log Destination: {denial}",
            ) from None
        try:
            for integration, rule in MANAGED_RULES.items():
                if f":states:::{integration}" in definition:
                    arn = Scope.current().arn("events", f"rule/{rule}")
                    verbs = ("events:PutTargets", "events:PutRule", "events:DescribeRule")
                    self._permissions.require(session, *(Access(verb, arn) for verb in verbs))
        except NotAuthorized as denial:
            raise ServiceFault(
                "AccessDeniedException", f"'{role_arn}' is not authorized to create managed-rule: {denial}"
            ) from None

    def _watch_api(self, name: str) -> None:
        @replace(stepfunctions, name, "data")
        def guarded(original: Any, data: dict[str, Any]) -> Any:  # noqa: ANN401
            machine = {**(self._machines.get(data.get("stateMachineArn", "")) or {}), **data}
            try:
                self.check(
                    str(machine.get("roleArn")),
                    str(machine.get("name")),
                    str(machine.get("definition", "")),
                    machine.get("loggingConfiguration") or {},
                )
            except ServiceFault as fault:
                return self._refuse(fault.code, str(fault), 400)
            return original(data)

    def _watch_templates(self) -> None:
        # Updates go through the API's function.
        handlers = require(provisioners, "_RESOURCE_HANDLERS")
        original = handlers[RESOURCE_TYPE]
        definition_of = require(provisioners, "_sfn_definition", "props")

        def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:  # noqa: ANN401
            definition = definition_of(properties)
            text = definition if isinstance(definition, str) else json.dumps(definition)
            name = str(properties.get("StateMachineName") or logical_id)
            self.check(str(properties.get("RoleArn")), name, text, properties.get("LoggingConfiguration") or {})
            return original["create"](logical_id, properties, stack)

        handlers[RESOURCE_TYPE] = {**original, "create": create}
