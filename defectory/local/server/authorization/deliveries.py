"""What services do by themselves is authorized as AWS authorizes it: by the target's policy, or by a role.

S3 and SNS deliver, and EventBridge calls, if the policy of the queue, topic or function lets the service; a queue feeds
a function, a function's failures go to a queue and its logs are written, if the function's role may.  What is not
allowed does not arrive, and the server's log says why.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from ministack.core import arn as arns
from ministack.core import iam_evaluator
from ministack.services import eventbridge, lambda_svc, s3, sns, sqs

from defectory.local.server.authorization.authority import Access, NotAuthorized
from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.authorization.requirements import with_keys
from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Scope, ServiceFault

log = logging.getLogger(__name__)

LAMBDA = "lambda.amazonaws.com"
RECEIVING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


class Deliveries:
    """Watches over what goes from service to service."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions
        self._watch_notifications()
        self._watch_rules()
        self._watch_functions()

    def _watch_notifications(self) -> None:
        @replace(sqs, "queue_policy_allows", "queue_arn", "service", "source_arn", "source_account")
        def to_queue(_: Any, queue_arn: str, service: str, source_arn: str, source_account: str) -> bool:  # noqa: ANN401
            return service_may(service, Access("sqs:SendMessage", queue_arn), source_arn, source_account)

        @replace(sns, "topic_policy_allows", "topic_arn", "service", "source_arn", "source_account")
        def to_topic(_: Any, topic_arn: str, service: str, source_arn: str, source_account: str) -> bool:  # noqa: ANN401
            return service_may(service, Access("sns:Publish", topic_arn), source_arn, source_account)

        @replace(s3, "_deliver_event_to_lambda", "arn", "event_payload")
        def from_bucket(original: Any, arn: str, event_payload: dict[str, Any], *rest: Any) -> None:  # noqa: ANN401
            bucket = event_payload["Records"][0]["s3"]["bucket"]["arn"]
            if _may_invoke("s3.amazonaws.com", arn, bucket):
                original(arn, event_payload, *rest)

        @replace(sns, "_deliver_to_lambda", "endpoint", "envelope", "topic_arn")
        def from_topic(original: Any, endpoint: str, envelope: str, topic_arn: str, *rest: Any) -> None:  # noqa: ANN401
            if _may_invoke("sns.amazonaws.com", endpoint, topic_arn):
                original(endpoint, envelope, topic_arn, *rest)

    def _watch_rules(self) -> None:
        to_queue = require(eventbridge, "_dispatch_to_sqs", "spec", "payload")
        parse = require(arns, "parse_arn", "value")
        view_of = require(eventbridge, "_pattern_event_view", "event")

        @replace(eventbridge, "_invoke_target", "target", "event", "rule")
        def invoke(original: Any, target: dict[str, Any], event: Any, rule: dict[str, Any], *rest: Any) -> None:  # noqa: ANN401
            if self._rule_may(rule, target):
                original(target, event, rule, *rest)
                return
            log.warning("EventBridge: the rule %s may not reach %s", rule.get("Name"), target.get("Arn"))
            letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            if letters and _rule_may_reach(rule, Access("sqs:SendMessage", letters)):
                to_queue(parse(letters), json.dumps(view_of(event).event_with_detail()))

    def _rule_may(self, rule: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
        arn = str(target.get("Arn", ""))
        service = arn.split(":")[2] if arn.count(":") >= 5 else ""
        by_policy = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}
        if service in by_policy:
            return _rule_may_reach(rule, Access(by_policy[service], arn))
        by_role = {"states": "states:StartExecution", "codepipeline": "codepipeline:StartPipelineExecution"}
        if service not in by_role:
            return True
        try:
            session = self._permissions.session(
                str(target.get("RoleArn")), str(rule.get("Name")), "events.amazonaws.com"
            )
        except ServiceFault as fault:
            log.warning("EventBridge: %s", fault)
            return False
        return self._permissions.authority.may(session.caller, Access(by_role[service], arn))

    def _watch_functions(self) -> None:
        @replace(lambda_svc, "_sqs_esm_concurrency", "esm", "func_rec", "config")
        def feed(original: Any, esm: dict[str, Any], function: Any, config: dict[str, Any], *rest: Any) -> int:  # noqa: ANN401
            queue = rest[0] if rest else None
            if queue and queue["messages"] and not self._may_receive(esm, function):
                return 0
            limit: int = original(esm, function, config, *rest)
            return limit

        @replace(lambda_svc, "_route_async_failure", "target_arn", "func_name", "event", "result")
        def fail(original: Any, target_arn: str, func_name: str, *rest: Any) -> None:  # noqa: ANN401
            verb = "sqs:SendMessage" if ":sqs:" in target_arn else "sns:Publish"
            if self._function_may(
                _configuration(func_name), f"send failures to {target_arn}", *with_keys(Access(verb, target_arn))
            ):
                original(target_arn, func_name, *rest)

        @replace(lambda_svc, "_emit_lambda_logs", "func", "request_id", "log_text")
        def write(original: Any, function: dict[str, Any], *rest: Any, **named: Any) -> None:  # noqa: ANN401
            config = function.get("config") or function
            group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"
            stream = Scope.current().arn("logs", f"log-group:{group}:log-stream:{config.get('Version') or '$LATEST'}")
            writing = (Access("logs:CreateLogStream", stream), Access("logs:PutLogEvents", stream))
            if self._function_may(config, f"write to {group}", *writing):
                original(function, *rest, **named)

    def _may_receive(self, mapping: Mapping[str, Any], function: Mapping[str, Any]) -> bool:
        queue = str(mapping["EventSourceArn"])
        accesses = [access for action in RECEIVING for access in with_keys(Access(action, queue))]
        return self._function_may(function.get("config") or {}, f"receive from {queue}", *accesses)

    def _function_may(self, config: Mapping[str, Any], what: str, *accesses: Access) -> bool:
        """Whether a function's role may; if not, the log says ``what`` it was about."""
        try:
            role, name = str(config.get("Role")), str(config.get("FunctionName"))
            self._permissions.require(self._permissions.session(role, name, LAMBDA), *accesses)
        except (NotAuthorized, ServiceFault) as denial:
            log.warning("Lambda: %s cannot %s: %s", config.get("FunctionName"), what, denial)
            return False
        return True


def service_may(service: str, access: Access, source_arn: str, source_account: str) -> bool:
    """Whether the policy of the resource lets a service, such as ``s3.amazonaws.com``, do it for a resource of ours."""
    scope = Scope.current()
    found = _resource_policy(access.service, access.resource)
    if found is None or not found[0]:
        return False
    context = _EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=access.action,
        resource_arn=access.resource,
        region=scope.region,
        secure_transport=True,
        service_context={
            "aws:sourcearn": source_arn,
            "aws:sourceaccount": source_account,
            "aws:sourceowner": source_account,
        },
    )
    decision: str = _evaluate(found[0], context, service=service).decision
    return decision == "Allow"


def _rule_may_reach(rule: Mapping[str, Any], access: Access) -> bool:
    return service_may("events.amazonaws.com", access, str(rule.get("Arn", "")), Scope.current().account)


def _may_invoke(service: str, function: str, source: str) -> bool:
    allowed = service_may(service, Access("lambda:InvokeFunction", function), source, Scope.current().account)
    if not allowed:
        log.warning("%s may not invoke %s for %s", service, function, source)
    return allowed


def _configuration(function: str) -> Mapping[str, Any]:
    config: Mapping[str, Any] = (_functions.get(function) or {}).get("config") or {}
    return config


_functions = require(lambda_svc, "_functions")
_resource_policy = require(iam_evaluator, "_resource_policy", "service", "resource_arn")
_evaluate = require(iam_evaluator, "evaluate_resource_policy", "doc", "ctx", "service")
_EvalContext = require(iam_evaluator, "EvalContext", "secure_transport", "service_context")
