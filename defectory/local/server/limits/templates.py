"""The same limits for resources of templates, which CloudFormation makes without a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.model import Shape
from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import require
from defectory.local.server.limits.constraints import check, shape_of
from defectory.local.server.limits.fault import LimitExceeded
from defectory.local.server.limits.regions import NOT_IN_REGION, check_region
from defectory.local.server.limits.rules import RULES

Properties = Mapping[str, Any]


def limit_templates() -> None:
    """Refuse resources that their service would refuse; before anything is made of them."""
    handlers = require(provisioners, "_RESOURCE_HANDLERS")
    for kind, operations in list(handlers.items()):
        handlers[kind] = {
            **operations,
            **{
                verb: _limited(kind, operations[verb], properties)
                # Where the properties are among the arguments.
                for verb, properties in (("create", 1), ("update", 2))
                if verb in operations
            },
        }


def _limited(kind: str, operation: Callable[..., Any], properties: int) -> Callable[..., Any]:
    def limited(*arguments: Any) -> Any:  # noqa: ANN401
        check_resource(kind, arguments[properties])
        return operation(*arguments)

    return limited


def check_resource(kind: str, properties: Properties) -> None:
    """Check the properties of a resource, with what they refer to filled in.

    Raises:
        LimitExceeded: the region has no such service, or it would refuse them.
    """
    action, adapt = _ACTIONS.get(kind, ("", dict))
    service = kind.split("::")[1].lower() if kind.count("::") == 2 else ""
    members = adapt(properties)
    shape = shape_of(action)
    if shape:
        members = _member(members, shape)
    try:
        check_region(service, action, members)
    except LimitExceeded as fault:
        if fault.code != NOT_IN_REGION:
            raise
        raise LimitExceeded(fault.code, f"Unrecognized resource types: [{kind}]. {fault}") from None
    check(action, members)
    # A resource without a name of its own gets one that is good.
    if action in RULES and (service not in ("sns", "sqs") or members):
        RULES[action](members)


def _renamed(name: str, member: str) -> Callable[[Properties], Properties]:
    return lambda properties: {member: str(properties[name])} if properties.get(name) else {}


def _in_pipeline(properties: Properties) -> Properties:
    return {"Pipeline": properties}


def _by_name(properties: Properties) -> Properties:
    """SageMaker's resources name each other by the ARNs that ``Ref`` gives, requests by names."""
    named: dict[str, Any] = {
        name: value.rpartition("/")[2] if name.endswith("Name") and isinstance(value, str) else value
        for name, value in properties.items()
    }
    if variants := named.get("ProductionVariants"):
        named["ProductionVariants"] = [_by_name(variant) for variant in variants]
    return named


def _member(value: Any, shape: Shape) -> Any:  # noqa: ANN401
    """A property as a request has it: names begin as the service's do, and numbers may be written as text."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        names = {name[0].upper() + name[1:]: name for name in shape.members}
        return {names[name]: _member(item, shape.members[names[name]]) for name, item in value.items() if name in names}
    if shape.type_name == "list" and isinstance(value, list):
        return [_member(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {name: _member(item, shape.value) for name, item in value.items()}
    if shape.type_name in ("integer", "long") and isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value)
    return str(value) if shape.type_name == "string" and isinstance(value, int | float) else value


# The actions that CloudFormation makes resources by, and what turns their properties into the action's members.
_ACTIONS: Mapping[str, tuple[str, Callable[[Properties], Properties]]] = {
    "AWS::CodeBuild::Project": ("codebuild:CreateProject", dict),
    "AWS::CodePipeline::Pipeline": ("codepipeline:CreatePipeline", _in_pipeline),
    "AWS::Events::Rule": ("events:PutRule", dict),
    "AWS::Lambda::EventSourceMapping": ("lambda:CreateEventSourceMapping", dict),
    "AWS::Lambda::Function": ("lambda:CreateFunction", dict),
    "AWS::Logs::LogGroup": ("logs:CreateLogGroup", dict),
    "AWS::SageMaker::Endpoint": ("sagemaker:CreateEndpoint", _by_name),
    "AWS::SageMaker::EndpointConfig": ("sagemaker:CreateEndpointConfig", _by_name),
    "AWS::SageMaker::Model": ("sagemaker:CreateModel", _by_name),
    "AWS::SageMaker::ModelPackageGroup": ("sagemaker:CreateModelPackageGroup", dict),
    "AWS::SNS::Topic": ("sns:CreateTopic", _renamed("TopicName", "Name")),
    "AWS::SQS::Queue": ("sqs:CreateQueue", _renamed("QueueName", "QueueName")),
    "AWS::SSM::Parameter": ("ssm:PutParameter", dict),
}
