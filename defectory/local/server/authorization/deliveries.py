"""What services do by themselves is authorized as AWS authorizes it: by the target's policy, or by a role.

S3 and SNS deliver, alarms tell, and EventBridge calls, if the policy of the queue, topic or function lets the service,
and that of the key behind it; a queue or a stream feeds a function, a function's failures go to a queue and its logs
are written, if the function's role may.  What is not allowed does not arrive, and the server's log says why.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core import arn as arns
from ministack.core import iam_evaluator
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge, lambda_svc, s3, sns, sqs

from defectory.local.server.authorization.authority import Access, NotAuthorized, complete, not_evaluated
from defectory.local.server.authorization.evaluation import NotUnderstood
from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.authorization.requirements import with_keys
from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Scope, ServiceFault

log = logging.getLogger(__name__)

LAMBDA = "lambda.amazonaws.com"
# What reaches a target of a service, and what of it the target's own policy allows.
_REACHING = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "states": "states:StartExecution",
    "codepipeline": "codepipeline:StartPipelineExecution",
    "codebuild": "codebuild:StartBuild",
    "events": "events:PutEvents",
}
_BY_POLICY = frozenset({"lambda:InvokeFunction", "sqs:SendMessage", "sns:Publish"})
_STREAMS = {
    "dynamodb": ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"),
    "kinesis": ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"),
}
RECEIVING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


class Deliveries:
    """Watches over what goes from service to service."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions
        self._said: set[str] = set()
        self._watch_notifications()
        self._watch_rules()
        self._watch_functions()

    def _watch_notifications(self) -> None:
        refuse = require(cloudwatch_logs, "error_response_json")

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

        @replace(cloudwatch_logs, "_put_subscription_filter", "data")
        def subscribe(original: Any, data: dict[str, Any]) -> Any:  # noqa: ANN401
            # As AWS, which tries the function at once.
            function, group = str(data.get("destinationArn")), f"log-group:{data.get('logGroupName')}:*"
            if ":function:" in function and not _may_invoke(
                "logs.amazonaws.com", function, Scope.current().arn("logs", group)
            ):
                message = (
                    "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to "
                    "execute your function."
                )
                return refuse("InvalidParameterException", message, 400)
            return original(data)

        @replace(cloudwatch, "_dispatch_alarm_actions", "alarm")
        def from_alarm(original: Any, alarm: dict[str, Any], *rest: Any) -> None:  # noqa: ANN401
            source, account = str(alarm.get("AlarmArn", "")), Scope.current().account
            lists = ("AlarmActions", "OKActions", "InsufficientDataActions")
            allowed = {
                name: [
                    arn
                    for arn in alarm.get(name) or []
                    if service_may("cloudwatch.amazonaws.com", Access("sns:Publish", arn), source, account)
                ]
                for name in lists
            }
            original({**alarm, **allowed}, *rest)

    def _watch_rules(self) -> None:
        @replace(eventbridge, "_invoke_target", "target", "event", "rule")
        def invoke(original: Any, target: dict[str, Any], event: Any, rule: dict[str, Any], *rest: Any) -> None:  # noqa: ANN401
            if self._rule_may(rule, target):
                original(target, event, rule, *rest)
                return
            log.warning("EventBridge: the rule %s may not reach %s", rule.get("Name"), target.get("Arn"))
            send_to_dead_letters(rule, target, event)

    def _rule_may(self, rule: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
        """Whether a rule of EventBridge, or a schedule of its scheduler, may reach a target."""
        arn, source = str(target.get("Arn", "")), str(rule.get("Arn", ""))
        access = Access(_REACHING.get(arn.split(":")[2] if arn.count(":") >= 5 else "", "") or "unknown:Reach", arn)
        is_schedule = source.startswith("arn:aws:scheduler:")
        if access.action in _BY_POLICY and not is_schedule:
            return _rule_may_reach(rule, access)
        if access.service == "unknown":
            log.warning("EventBridge: the local cloud does not know what %s needs to reach %s", source, arn)
            return False
        service = "scheduler.amazonaws.com" if is_schedule else "events.amazonaws.com"
        try:
            session = self._permissions.session(str(target.get("RoleArn")), str(rule.get("Name")), service)
        except ServiceFault as fault:
            log.warning("EventBridge: %s", fault)
            return False
        return self._permissions.authority.may(session.caller, *with_keys(access))

    def _watch_functions(self) -> None:
        @replace(lambda_svc, "_sqs_esm_concurrency", "esm", "func_rec", "config")
        def feed(original: Any, esm: dict[str, Any], function: Any, config: dict[str, Any], *rest: Any) -> int:  # noqa: ANN401
            queue = rest[0] if rest else None
            if queue and queue["messages"] and not self._may_receive(esm, function):
                return 0
            limit: int = original(esm, function, config, *rest)
            return limit

        @replace(lambda_svc, "_iter_all_esms")
        def mappings(original: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:  # noqa: ANN401
            for account, region, esm in original():
                with Scope(account, region).entered():
                    allowed = self._may_read_stream(esm)
                if allowed:
                    yield account, region, esm

        @replace(lambda_svc, "_route_async_failure", "target_arn", "func_name", "event", "result")
        def fail(original: Any, target_arn: str, func_name: str, *rest: Any) -> None:  # noqa: ANN401
            verb = _REACHING.get(target_arn.split(":")[2] if target_arn.count(":") >= 5 else "", "unknown:Reach")
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

    def _may_read_stream(self, mapping: Mapping[str, Any]) -> bool:
        stream = str(mapping.get("EventSourceArn", ""))
        service = stream.split(":")[2] if stream.count(":") >= 5 else ""
        if service not in _STREAMS:
            return True
        accesses = [Access(f"{service}:{verb}", stream) for verb in _STREAMS[service]]
        return self._function_may(_configuration(str(mapping.get("FunctionName"))), f"read {stream}", *accesses)

    def _function_may(self, config: Mapping[str, Any], what: str, *accesses: Access) -> bool:
        """Whether a function's role may; if not, the log says ``what`` it was about."""
        try:
            role, name = str(config.get("Role")), str(config.get("FunctionName"))
            self._permissions.require(self._permissions.session(role, name, LAMBDA), *accesses)
        except (NotAuthorized, ServiceFault) as denial:
            self._say(f"Lambda: {config.get('FunctionName')} cannot {what}: {denial}")
            return False
        return True

    def _say(self, text: str) -> None:
        # What polls asks again and again.
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)


def send_to_dead_letters(rule: Mapping[str, Any], target: Mapping[str, Any], event: Any) -> None:  # noqa: ANN401
    """Send an event that a target did not get to the queue that it has for those, if it has one."""
    letters = (target.get("DeadLetterConfig") or {}).get("Arn")
    if letters and _rule_may_reach(rule, Access("sqs:SendMessage", letters)):
        _to_queue(_parse(letters), json.dumps(_view_of(event).event_with_detail()))


def service_may(service: str, access: Access, source_arn: str, source_account: str) -> bool:
    """Whether policies let a service, such as ``s3.amazonaws.com``, do it for a resource of ours.

    That is the policy of the resource, and of the KMS key behind it.
    """
    context = {
        "aws:sourcearn": source_arn,
        "aws:sourceaccount": source_account,
        "aws:sourceowner": source_account,
        "aws:principalisawsservice": "true",
    }
    try:
        return all(_policy_allows(service, each, context) for each in with_keys(access))
    except NotUnderstood as error:
        log.warning("%s", not_evaluated(service, access, error))
        return False


def _policy_allows(service: str, access: Access, context: Mapping[str, Any]) -> bool:
    found = _resource_policy(access.service, access.resource)
    if found is None or not found[0]:
        return False
    completed = {name.lower(): value for name, value in complete(access).items()}
    evaluated = _EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=access.action,
        resource_arn=access.resource,
        region=Scope.current().region,
        secure_transport=True,
        service_context={**completed, **context},
    )
    decision: str = _evaluate(found[0], evaluated, service=service).decision
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


_to_queue = require(eventbridge, "_dispatch_to_sqs", "spec", "payload")
_parse = require(arns, "parse_arn", "value")
_view_of = require(eventbridge, "_pattern_event_view", "event")
_functions = require(lambda_svc, "_functions")
_resource_policy = require(iam_evaluator, "_resource_policy", "service", "resource_arn")
_evaluate = require(iam_evaluator, "evaluate_resource_policy", "doc", "ctx", "service")
_EvalContext = require(iam_evaluator, "EvalContext", "secure_transport", "service_context")
