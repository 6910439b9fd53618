"""What Step Functions does that MiniStack does not: tasks that call SageMaker or S3, and outputs of Succeed states.

Names of errors are those that AWS reports, which a state's Retry and Catch go by.  An optimized integration names them
as the AWS SDK for Java 1 does (``SageMaker.AmazonSageMakerException`` for what has no exception of its own), an SDK
integration as version 2 does (``SageMaker.SageMakerException``).
"""

from __future__ import annotations

import contextvars
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore import xform_name
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions

from defectory.local.clients import connect
from defectory.local.server.authorization.machines import SERVICE
from defectory.local.server.authorization.permissions import Access, NotAuthorized, Permissions, Session
from defectory.local.server.authorization.requirements import with_keys
from defectory.local.server.distributed_map import DistributedMaps
from defectory.local.server.hooks import replace, require
from defectory.local.server.sagemaker.jobs import in_milliseconds
from defectory.local.server.sagemaker.registry import TRAINING_JOB, TRANSFORM_JOB, ResourceKind
from defectory.local.server.sagemaker.service import SageMaker
from defectory.local.server.services import Extension, Scope, ServiceFault
from defectory.local.server.settings import Settings

_ITEM_VERBS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem")
OPTIMIZED = "arn:aws:states:::sagemaker:"
SDK = "arn:aws:states:::aws-sdk:"
_ACTIVITY = re.compile(r"arn:aws:states:[\w-]+:\d{12}:activity:.+")
# Jobs that a task may wait for.
JOBS = {"createTrainingJob": TRAINING_JOB, "createTransformJob": TRANSFORM_JOB}
# What Step Functions marks a job with that it waits for; its role needs leave to tag.
STARTED = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}
RESOURCE = re.compile(r"arn:aws:states:::(?:aws-sdk:)?(?P<service>\w+):(?P<action>\w+)(?P<pattern>\.[\w:]+)?")


@dataclass(frozen=True, slots=True)
class Flavour:
    """How errors of a service are named."""

    service: str
    prefix: str
    default: str
    cause: str


OF_SAGEMAKER = Flavour(
    "sagemaker",
    "SageMaker",
    "AmazonSageMakerException",
    "{message} (Service: AmazonSageMaker; Status Code: {status}; Error Code: {code}; Request ID: {request})",
)
_SDK_CAUSE = "{message} (Service: {prefix}, Status Code: {status}, Request ID: {request})"
# SDK integrations, by the name in the resource: the name of botocore's client, and the one that errors begin with.
_SDK_SERVICES = {
    "sagemaker": ("sagemaker", "SageMaker"),
    "sagemakerruntime": ("sagemaker-runtime", "SageMakerRuntime"),
    "s3": ("s3", "S3"),
    "sfn": ("stepfunctions", "Sfn"),
    "cloudwatch": ("cloudwatch", "CloudWatch"),
    "cloudwatchlogs": ("logs", "CloudWatchLogs"),
    "dynamodb": ("dynamodb", "DynamoDb"),
    "eventbridge": ("events", "EventBridge"),
    "lambda": ("lambda", "Lambda"),
    "kms": ("kms", "Kms"),
    "secretsmanager": ("secretsmanager", "SecretsManager"),
    "sns": ("sns", "Sns"),
    "sqs": ("sqs", "Sqs"),
    "ssm": ("ssm", "Ssm"),
    "codepipeline": ("codepipeline", "CodePipeline"),
    "codebuild": ("codebuild", "CodeBuild"),
}
OF_SDK = {
    name: Flavour(service, prefix, f"{prefix}Exception", _SDK_CAUSE)
    for name, (service, prefix) in _SDK_SERVICES.items()
}


@dataclass(frozen=True, slots=True)
class Native:
    """A task that MiniStack does by itself: what it needs, on which of its arguments, and the error of a denial."""

    action: str
    target: Callable[[Scope, Mapping[str, Any]], str]
    error: str


def _of_table(verb: str) -> Native:
    return Native(
        f"dynamodb:{verb}",
        lambda scope, data: scope.arn("dynamodb", f"table/{data.get('TableName')}"),
        "DynamoDB.AmazonDynamoDBException",
    )


def _of_function(scope: Scope, data: Mapping[str, Any]) -> str:
    name = str(data.get("FunctionName", ""))
    return name if name.startswith("arn:") else scope.arn("lambda", f"function:{name}")


NATIVE: Mapping[str, Native] = {
    "lambda:invoke": Native("lambda:InvokeFunction", _of_function, "Lambda.AWSLambdaException"),
    "sns:publish": Native("sns:Publish", lambda _, data: str(data.get("TopicArn")), "SNS.AuthorizationErrorException"),
    "sqs:sendMessage": Native(
        "sqs:SendMessage",
        lambda scope, data: scope.arn("sqs", str(data.get("QueueUrl")).rpartition("/")[2]),
        "SQS.AmazonSQSException",
    ),
    "events:putEvents": Native(
        "events:PutEvents", lambda scope, _: scope.arn("events", "event-bus/default"), "EventBridge.AccessDenied"
    ),
    "states:startExecution": Native(
        "states:StartExecution", lambda _, data: str(data.get("StateMachineArn")), "StepFunctions.AccessDenied"
    ),
    **{f"dynamodb:{verb[0].lower()}{verb[1:]}": _of_table(verb) for verb in _ITEM_VERBS},
}


@dataclass(frozen=True, slots=True)
class _Task:
    """A task that an execution is at; over when it has succeeded, failed or timed out."""

    execution: Mapping[str, Any]
    session: Session
    over: threading.Event

    def abandoned(self) -> bool:
        return self.over.is_set() or self.execution["status"] != "RUNNING"


_current: contextvars.ContextVar[_Task] = contextvars.ContextVar("task")


class Integrations(Extension):
    """Tasks of state machines that call SageMaker or S3."""

    def __init__(self, settings: Settings, sagemaker: SageMaker, permissions: Permissions) -> None:
        self._settings = settings
        self._sagemaker = sagemaker
        self._permissions = permissions
        self._clients: dict[tuple[str, Scope, str], BaseClient] = {}
        self._lock = threading.Lock()
        self._failed = require(stepfunctions, "_ExecutionError")
        self._machines = require(stepfunctions, "_state_machines")
        self._resolve = require(stepfunctions, "_resolve_params_obj")
        self._to_api = require(stepfunctions, "_sdk_json_param_value", "value", "shape")
        self._from_api = require(stepfunctions, "_sdk_json_value", "value", "shape")
        require(stepfunctions, "_SERVICE_DISPATCH")[OPTIMIZED] = self._optimized

        @replace(stepfunctions, "_invoke_aws_sdk_integration", "resource", "input_data")
        def invoke(_: Any, resource: str, data: dict[str, Any]) -> Any:  # noqa: ANN401
            # By a client with the role's keys, so that the gate sees it; MiniStack would go to the service itself.
            parts = RESOURCE.match(resource)
            flavour = OF_SDK.get(parts["service"].lower()) if parts else None
            if parts is None or flavour is None:
                raise self._failed("States.Runtime", f"The local cloud does not know {resource}.")
            return self._call(flavour, parts["action"], data)

        @replace(stepfunctions, "_invoke_resource", "resource", "input_data")
        def invoke_resource(original: Any, resource: str, data: dict[str, Any]) -> Any:  # noqa: ANN401
            self._authorize(resource, data)
            return original(resource, data)

        @replace(stepfunctions, "_invoke_with_callback", "resource", "input_data")
        def invoke_and_wait(original: Any, resource: str, data: dict[str, Any], *rest: Any) -> Any:  # noqa: ANN401
            self._authorize(resource, data)
            return original(resource, data, *rest)

        @replace(stepfunctions, "_execute_task", "state_def", "raw_input", "execution", "ctx")
        def execute(original: Any, state: Any, data: Any, execution: dict[str, Any], ctx: Any) -> Any:  # noqa: ANN401
            if state.get("Credentials"):
                raise self._failed("States.Runtime", "The local cloud runs no task with Credentials of its own.")
            task = _Task(execution, self._session(execution), threading.Event())
            before = _current.set(task)
            try:
                return original(state, data, execution, ctx)
            finally:
                task.over.set()
                _current.reset(before)

        DistributedMaps(self._reach_for_map)
        jsonata_output = require(stepfunctions, "_apply_jsonata_output", "state_def", "raw_input", "ctx", "default")
        language = require(stepfunctions, "_state_query_language", "state_def", "ctx")

        @replace(stepfunctions, "_apply_output_path", "state_def", "data", "ctx")
        def output(original: Any, state: dict[str, Any], data: Any, ctx: Any = None) -> Any:  # noqa: ANN401
            # Of the states without a result only this one comes here; MiniStack ends with its input instead.
            if state.get("Type") == "Succeed" and language(state, ctx) == "JSONata":
                return jsonata_output(state, data, ctx, default=data)
            return original(state, data, ctx)

    def _optimized(self, resource: str, data: dict[str, Any]) -> Any:  # noqa: ANN401
        parts = RESOURCE.match(resource)
        assert parts
        kind = JOBS.get(parts["action"])
        if parts["pattern"] and (kind is None or parts["pattern"] != ".sync"):
            raise self._failed("States.Runtime", f"The local cloud does not know {resource}.")
        if parts["pattern"]:
            data = {**data, "Tags": [*data.get("Tags", []), STARTED]}
        reply = self._call(OF_SAGEMAKER, parts["action"], data)
        if not parts["pattern"] or kind is None:
            return reply
        return self._await_job(kind, str(data[kind.name]))

    def _await_job(self, kind: ResourceKind, name: str) -> Any:  # noqa: ANN401
        # As in AWS, a job ends with the execution that waits for it, if the role may stop it.
        task, job = _current.get(), Scope.current().arn("sagemaker", f"{kind.resource}/{name}")
        stopping = Access(f"sagemaker:Stop{kind.prefix}", job)
        record = self._sagemaker.jobs[kind.prefix].wait(
            name,
            lambda: task.abandoned() and self._permissions.authority.may(task.session.caller, stopping),
        )
        error = f"{OF_SAGEMAKER.prefix}.{OF_SAGEMAKER.default}"
        for verb in (f"Describe{kind.prefix}", "ListTags"):
            self._require(task.session, Access(f"sagemaker:{verb}", job), error)
        described = in_milliseconds(self._sagemaker.request(f"Describe{kind.prefix}", **{kind.name: name}))
        if record[kind.status] != "Completed":
            raise self._failed("States.TaskFailed", json.dumps(described))
        return described

    def _call(self, flavour: Flavour, action: str, data: Mapping[str, Any] | None) -> Any:  # noqa: ANN401
        client = self._client(flavour.service)
        method = xform_name(action[0].upper() + action[1:])
        if not hasattr(client, method):
            raise self._failed("States.Runtime", f"{flavour.prefix} has no operation {action}.")
        operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
        parameters = self._to_api(dict(data or {}), operation.input_shape) if operation.input_shape else {}
        try:
            reply = getattr(client, method)(**_with_bodies(parameters, operation.input_shape))
        except ClientError as error:
            fault = error.response["Error"]
            metadata = error.response["ResponseMetadata"]
            name = _exception(fault["Code"], {shape.name for shape in operation.error_shapes}, flavour.default)
            cause = flavour.cause.format(
                message=fault.get("Message", ""),
                prefix=flavour.prefix,
                code=fault["Code"],
                status=metadata.get("HTTPStatusCode"),
                request=metadata.get("RequestId", ""),
            )
            raise self._failed(f"{flavour.prefix}.{name}", cause) from None
        except BotoCoreError as error:
            raise self._failed(f"{flavour.prefix}.SdkClientException", str(error)) from None
        reply.pop("ResponseMetadata", None)
        plain = json.loads(json.dumps(reply, default=_plain))
        return self._from_api(plain, operation.output_shape) if operation.output_shape else {}

    def _session(self, execution: Mapping[str, Any]) -> Session:
        """The session of the machine's role."""
        arn = _machine(execution)
        try:
            machine = self._machines.get(arn)
            if machine is None:
                raise ServiceFault("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
            return self._permissions.session(str(machine["roleArn"]), arn.rpartition(":")[2], SERVICE)
        except ServiceFault as fault:
            raise self._failed("States.Runtime", str(fault)) from None

    def _authorize(self, resource: str, data: Mapping[str, Any]) -> None:
        """What MiniStack does for a task by itself, without a request that the gate would see."""
        session = _current.get().session
        if ":function:" in resource:
            self._require(session, Access("lambda:InvokeFunction", resource), NATIVE["lambda:invoke"].error)
            return
        if resource.startswith((OPTIMIZED, SDK)) or _ACTIVITY.fullmatch(resource):
            # By a client; or by whoever asks for the activity.
            return
        name, _, pattern = resource.partition(":states:::")[2].partition(".")
        if name not in NATIVE:
            raise self._failed("States.Runtime", f"The local cloud does not know what {resource} needs.")
        native = NATIVE[name]
        access = Access(native.action, native.target(Scope.current(), data))
        self._require(session, access, native.error)
        if name == "states:startExecution" and pattern.startswith("sync"):
            # https://docs.aws.amazon.com/step-functions/latest/dg/stepfunctions-iam.html
            execution = access.resource.replace(":stateMachine:", ":execution:")
            for verb in ("DescribeExecution", "StopExecution"):
                self._require(session, Access(f"states:{verb}", f"{execution}:*"), native.error)

    def _require(self, session: Session, access: Access, error: str) -> None:
        try:
            self._permissions.require(session, *with_keys(access))
        except NotAuthorized as denial:
            raise self._failed(error, str(denial)) from None

    def _reach_for_map(self, execution: Mapping[str, Any], service: str) -> BaseClient:
        """A client by which a Distributed Map reads items and writes results; its role has to start executions."""
        session = self._session(execution)
        self._require(session, Access("states:StartExecution", _machine(execution)), "States.Runtime")
        return self._client_of(session, service)

    def _client(self, service: str) -> BaseClient:
        return self._client_of(_current.get().session, service)

    def _client_of(self, session: Session, service: str) -> BaseClient:
        scope = Scope.current()
        key = (service, scope, session.caller.key)
        with self._lock:
            if key not in self._clients:
                access_key, secret, token = session.keys
                self._clients[key] = connect(service, self._settings.endpoint, access_key, secret, scope.region, token)
            return self._clients[key]


def _machine(execution: Mapping[str, Any]) -> str:
    """The ARN of the machine of an execution, which may be one of a Map's, or of a version."""
    *front, name = execution["stateMachineArn"].split(":")[:7]
    return ":".join([*front, name.partition("/")[0]])


def _exception(code: str, modelled: set[str], default: str) -> str:
    """The SDK's exception for an error code: its own if the API declares it, the service's general one if not."""
    if code not in modelled:
        return default
    return f"{code.removesuffix('Fault').removesuffix('Exception')}Exception"


def _with_bodies(parameters: dict[str, Any], shape: Any) -> dict[str, Any]:  # noqa: ANN401
    """Bytes that were given as JSON go out as its text."""
    return {
        name: json.dumps(value, separators=(",", ":"))
        if shape.members[name].type_name == "blob" and not isinstance(value, str)
        else value
        for name, value in parameters.items()
        if name in shape.members
    }


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if hasattr(value, "read"):
        value = value.read()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
