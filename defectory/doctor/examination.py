"""Asking an AWS account what of a deployment would fail.

Each check asks one service and answers with findings; a question that may not be asked is a finding as well, never
silence.  Nothing is created, changed or called for money.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from defectory.aws.clients import aws_client, error_code
from defectory.aws.failures import Fault, fault_of
from defectory.aws.inference_profiles import (
    answering_regions,
    application_profile_region,
    bare_model_id,
    profile_of,
)
from defectory.config import IMAGE_MODELS, STACKS, Config
from defectory.doctor.company import check_boundary, check_key, check_network
from defectory.doctor.findings import Connect, Finding

QUALIFIER = "hnb659fds"
# What templates of the CDK's default synthesizer ask for: BOOTSTRAP_REQUIRED_VERSION of aws-cdk-lib 2.
BOOTSTRAP_VERSION = 6
CDK = "npx aws-cdk@2.1148.1"

TRAINING_INSTANCE = "ml.m5.xlarge"
# Beside pictures, functions of the line and of requests work at the same time.
FUNCTIONS_BESIDE = 15
SERVERLESS_CONCURRENCY = 10

_LOST = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException")
_ABSENT = ("ParameterNotFound", "ResourceNotFoundException", "StateMachineDoesNotExist", "ResourceNotFound")


def examine(config: Config, connect: Connect = aws_client) -> Iterator[Finding]:
    """Ask the account that the environment leads to whether ``config`` can be deployed and used in it.

    The first findings are about the credentials; where these are refused, nothing else can be asked.

    >>> from defectory.config import load_config
    >>> for finding in examine(load_config({}, {"AWS_REGION": "eu-west-1"})):  # doctest: +SKIP
    ...     print(finding.status, finding.check, finding.detail, finding.fix)
    """
    account = yield from _check_credentials(config, connect)
    if not account:
        return
    checks: tuple[tuple[str, Callable[[Config, Connect, str], Iterator[Finding]]], ...] = (
        ("bootstrap", _check_bootstrap),
        ("models", _check_models),
        ("quotas", _check_quotas),
        ("stacks", _check_stacks),
        ("names", _check_names),
        ("endpoint", _check_endpoint),
        ("e-mail", _check_mail),
        ("boundary", check_boundary),
        ("key", check_key),
        ("network", check_network),
    )
    for name, check in checks:
        try:
            yield from check(config, connect, account)
        except ClientError as error:
            lost = error_code(error) in _LOST
            fix = f"Let your role call {error.operation_name}, and ask again." if lost else "Ask again later."
            yield Finding(name, "unknown", f"Not answered: {error}.", fix)
        except BotoCoreError as error:
            yield Finding(name, "unknown", f"Not answered: {error}.", f"Is the service there in {config.region}?")


def _check_credentials(config: Config, connect: Connect) -> Generator[Finding, None, str]:
    """Its return value is the account's number; empty if there are no usable credentials."""
    try:
        identity = connect("sts", config.region).get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        fix = "Sign in: aws sso login, or aws configure; then `aws sts get-caller-identity` has to answer."
        yield Finding("credentials", "fails", f"Refused: {error}.", fix)
        return ""
    account, arn = str(identity["Account"]), str(identity["Arn"])
    if arn.endswith(":root"):
        fix = "Sign in as a role or a user, and keep the root user locked away."
        yield Finding("credentials", "warning", f"Account {account}, as its root user.", fix)
    else:
        yield Finding("credentials", "well", f"Account {account}, as {arn}.")
    yield Finding("region", "well", f"{config.region} has what the settings need, as far as is known.")
    return account


def _check_bootstrap(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    fix = f"{CDK} bootstrap aws://{account}/{config.region}"
    name = f"/cdk-bootstrap/{QUALIFIER}/version"
    try:
        version = int(connect("ssm", config.region).get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError as error:
        if error_code(error) not in _ABSENT:
            raise
        yield Finding("bootstrap", "fails", f"The account is not prepared for the CDK in {config.region}.", fix)
        return
    if version < BOOTSTRAP_VERSION:
        detail = f"The CDK's bootstrap stack is version {version}; {BOOTSTRAP_VERSION} or later is needed."
        yield Finding("bootstrap", "fails", detail, fix)
    else:
        yield Finding("bootstrap", "well", f"Version {version}.")


def _check_models(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    # What is called, what it is or was made from, and where.
    models = [(config.model_id, config.routed_model_id, config.region)] if config.author == "bedrock" else []
    models += [(name, name, config.image_region) for name in (str(getattr(config, each)) for each in IMAGE_MODELS)]
    for model_id, source, region in dict.fromkeys(models):
        if model_id:
            yield from _check_model(connect("bedrock", region), model_id, source, region)


def _check_model(bedrock: BaseClient, model_id: str, source: str, region: str) -> Iterator[Finding]:
    model = bare_model_id(source)
    try:
        if application_profile_region(model_id):
            profile = bedrock.get_inference_profile(inferenceProfileIdentifier=model_id)
            yield from _check_source(profile, source, region)
        elif profile_of(model_id, "model_id"):
            bedrock.get_inference_profile(inferenceProfileIdentifier=model_id)
        lifecycle = bedrock.get_foundation_model(modelIdentifier=model)["modelDetails"].get("modelLifecycle", {})
        access = bedrock.get_foundation_model_availability(modelId=model)
    except ClientError as error:
        if error_code(error) not in (*_ABSENT, "ValidationException"):
            raise
        fix = f"See `aws bedrock list-inference-profiles --region {region}`, and set another model."
        yield Finding("models", "fails", f"{model_id} is not offered in {region}: {error}.", fix)
        return
    refusals = [
        name
        for name in ("regionAvailability", "authorizationStatus", "entitlementAvailability")
        if access.get(name) not in (None, "AVAILABLE", "AUTHORIZED")
    ]
    agreement = access.get("agreementAvailability", {}).get("status", "AVAILABLE")
    if refusals:
        fix = f"Ask for it in Bedrock's model catalogue, region {region}; a service control policy may forbid it."
        yield Finding("models", "fails", f"{model_id} may not be called: {', '.join(refusals)}.", fix)
    elif agreement != "AVAILABLE":
        offers = f"aws bedrock list-foundation-model-agreement-offers --region {region} --model-id {model}"
        fix = (
            f"aws bedrock create-foundation-model-agreement --region {region} --model-id {model} "
            f"--offer-token $({offers} --query 'offers[0].offerToken' --output text)"
        )
        yield Finding("models", "fails", f"The provider's terms for {model} are not accepted ({agreement}).", fix)
    elif lifecycle.get("status") == "LEGACY":
        ends = lifecycle.get("endOfLifeTime", "a day that Bedrock does not tell")
        yield Finding("models", "warning", f"{model_id} is being retired; it ends on {ends}.", "Set another model.")
    else:
        yield Finding("models", "well", f"{model_id} may be called from {region}.")


def _check_source(profile: Mapping[str, Any], source: str, region: str) -> Iterator[Finding]:
    """Calls of an application's profile that permissions do not allow, which follow from what it was made from."""
    model, allowed = bare_model_id(source), answering_regions(source, region)
    for routed in (str(entry["modelArn"]) for entry in profile["models"]):
        answering, name = routed.split(":")[3], routed.rpartition("/")[2]
        if name != model or (answering not in allowed and "" not in allowed):
            detail = (
                f"{profile['inferenceProfileArn']} calls {routed}, which base_model_id={source} gives no leave for."
            )
            fix = "Set base_model_id to the inference profile, or the model, that it was made from."
            yield Finding("models", "fails", detail, fix)


@dataclass(frozen=True, slots=True)
class _Need:
    """A quota by the pattern of its name, and the least that the settings need of it."""

    service: str
    name: str
    least: int
    why: str


def _needs(config: Config) -> Iterator[_Need]:
    yield _Need("sagemaker", rf"{re.escape(TRAINING_INSTANCE)} for training job usage", 1, "training a model")
    if config.inspection_endpoint == "realtime":
        instance = re.escape(config.inspection_instance)
        # An update brings the new instance up before the old one goes.
        yield _Need("sagemaker", rf"{instance} for endpoint usage", 2, "an endpoint that can be updated")
    elif config.inspection_endpoint == "serverless":
        total = r".*\bconcurrency\b.*\bserverless endpoints"
        yield _Need("sagemaker", total, SERVERLESS_CONCURRENCY, "the endpoint")
    size = config.run_compute.capitalize()
    yield _Need("codebuild", rf"Concurrently running builds for Linux/{size} environment", 1, "running scripts")
    together = config.image_concurrency + FUNCTIONS_BESIDE
    yield _Need("lambda", r"Concurrent executions", together, "pictures and the line at a time")


def _check_quotas(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    client = connect("service-quotas", config.region)
    values: dict[str, dict[str, Mapping[str, Any]]] = {}
    for need in _needs(config):
        if need.service not in values:
            values[need.service] = _quotas(client, need.service)
        names = values[need.service]
        quota = next((names[name] for name in names if re.fullmatch(need.name, name)), None)
        if quota is None:
            detail = f"Service Quotas of {need.service} do not list one for {need.why}."
            yield Finding("quotas", "unknown", detail, "Look for it in the console of Service Quotas.")
        elif quota["Value"] < need.least:
            fix = (
                f"aws service-quotas request-service-quota-increase --region {config.region} "
                f"--service-code {need.service} --quota-code {quota['QuotaCode']} --desired-value {need.least}"
            )
            detail = f"{quota['QuotaName']}: {quota['Value']:g}; {need.why} needs {need.least}."
            yield Finding("quotas", "fails", detail, fix)
        else:
            yield Finding("quotas", "well", f"{quota['QuotaName']}: {quota['Value']:g}, of {need.least} needed.")


def _quotas(client: BaseClient, service: str) -> dict[str, Mapping[str, Any]]:
    """A service's quotas by name; those that the account has of its own before the defaults."""
    quotas: dict[str, Mapping[str, Any]] = {}
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        for page in client.get_paginator(operation).paginate(ServiceCode=service):
            quotas |= {quota["QuotaName"]: quota for quota in page["Quotas"]}
    return quotas


def _check_stacks(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    for name in stack_names(config):
        status = _stack_status(connect, config, name)
        delete = f"aws cloudformation delete-stack --region {config.region} --stack-name {name}"
        if not status:
            yield Finding("stacks", "well", f"{name} is to be created.")
        elif status == "ROLLBACK_COMPLETE":
            yield Finding("stacks", "fails", f"{name} failed when it was created; it cannot be updated.", delete)
        elif status in ("DELETE_FAILED", "ROLLBACK_FAILED"):
            yield Finding("stacks", "fails", f"{name} is {status}: it could not be removed.", delete)
        elif status == "UPDATE_ROLLBACK_FAILED":
            fix = f"aws cloudformation continue-update-rollback --region {config.region} --stack-name {name}"
            yield Finding("stacks", "fails", f"{name} is {status}.", fix)
        elif status.endswith("_IN_PROGRESS"):
            fix = f"aws cloudformation wait stack-exists --region {config.region} --stack-name {name}; then ask again"
            yield Finding("stacks", "warning", f"{name} is {status}: somebody is at work on it.", fix)
        else:
            yield Finding("stacks", "well", f"{name} is {status}.")


def stack_names(config: Config) -> tuple[str, ...]:
    """The stacks of a deployment."""
    return tuple(f"{config.name}-{capability}" for capability in STACKS)


def _stack_status(connect: Connect, config: Config, name: str) -> str:
    try:
        [stack] = connect("cloudformation", config.region).describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        # Its code is ValidationError for whatever is wrong.
        if "does not exist" in str(error):
            return ""
        raise
    return str(stack["StackStatus"])


def _check_names(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    """Resources with a name of their own that stand there, though the stack that would create them does not."""
    taken = False
    for stack, resources in named_resources(config).items():
        if _stack_status(connect, config, stack):
            continue
        for kind, name in resources:
            if not _exists(connect, config, account, kind, name):
                continue
            taken = True
            fix = f"Deploy under another name (-c name=...), or remove it: {_REMOVALS[kind].format(name=name)}"
            detail = f"{kind} {name} is there, and no stack {stack}: creating it would fail."
            yield Finding("names", "fails", detail, fix)
    if not taken:
        yield Finding("names", "well", "Nobody else has the names of functions, state machines and endpoints.")


def _check_endpoint(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    """An endpoint of SageMaker, which the training machine made, that the settings have no use for any more."""
    name, client = f"{config.name}-inspection", connect("sagemaker", config.region)
    delete = f"aws sagemaker delete-endpoint --region {config.region} --endpoint-name {name}"
    try:
        current = client.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    except ClientError as error:
        if fault_of(error) is not Fault.MISSING:
            raise
        yield Finding("endpoint", "well", f"No endpoint {name} is in the way or paid for in vain.")
        return
    if config.inspection_endpoint == "lambda":
        detail = f"The endpoint {name} is there, which nobody asks once a function serves; an instance is paid for."
        fix = f"The first training after the change deletes it; to do it now, where a function serves: {delete}"
        yield Finding("endpoint", "warning", detail, fix)
        return
    [variant] = client.describe_endpoint_config(EndpointConfigName=current)["ProductionVariants"]
    if config.inspection_endpoint == "serverless" and "ServerlessConfig" not in variant:
        detail = f"The endpoint {name} has an instance: SageMaker never makes it serverless, and training is refused."
        yield Finding(
            "endpoint", "fails", detail, f"Deploy with -c inspection_endpoint=realtime, or delete it: {delete}"
        )
    else:
        yield Finding("endpoint", "well", f"The endpoint {name} can be what the settings say.")


def named_resources(config: Config) -> dict[str, tuple[tuple[str, str], ...]]:
    """Kind and name of what each stack names itself; a test compares them with the templates."""
    name = config.name
    sensor_data, inspection, images, detection = stack_names(config)
    by_function = config.inspection_endpoint == "lambda"

    def functions(*folders: str) -> tuple[tuple[str, str], ...]:
        return tuple(("AWS::Lambda::Function", f"{name}-{folder}") for folder in folders)

    return {
        sensor_data: (
            *functions("request-sensor-data", "close-failed-request"),
            ("AWS::StepFunctions::StateMachine", f"{name}-sensor-fleet"),
        ),
        inspection: (
            *functions("start-inspection", "inspect-with-model" if by_function else "inspect-image"),
            *functions("record-inspection", "send-alert", "send-digest", "confirm-inspection", "training-controller"),
            ("AWS::StepFunctions::StateMachine", f"{name}-inspection"),
            ("AWS::StepFunctions::StateMachine", f"{name}-inspection-training"),
            *(() if by_function else (("AWS::CloudWatch::Alarm", f"{name}-inspection-errors"),)),
        ),
        images: (
            *functions("plan-synthesis", "synthesize-images", "assemble-dataset"),
            ("AWS::StepFunctions::StateMachine", f"{name}-image-synthesis"),
        ),
        detection: (
            *functions("start-safety-check", "check-safety", "record-safety-check", "set-safety-rules"),
            *functions("send-safety-alert", "send-safety-digest"),
            *functions("detector-controller"),
            ("AWS::StepFunctions::StateMachine", f"{name}-safety"),
            ("AWS::StepFunctions::StateMachine", f"{name}-detection-training"),
            *functions("plan-scenes", "render-scenes", "assemble-scenes"),
            ("AWS::StepFunctions::StateMachine", f"{name}-scenes"),
            *(() if by_function else (("AWS::CloudWatch::Alarm", f"{name}-detection-errors"),)),
        ),
    }


_REMOVALS = {
    "AWS::Lambda::Function": "aws lambda delete-function --function-name {name}",
    "AWS::StepFunctions::StateMachine": "aws stepfunctions delete-state-machine (its ARN ends with {name})",
    "AWS::CloudWatch::Alarm": "aws cloudwatch delete-alarms --alarm-names {name}",
}


def _exists(connect: Connect, config: Config, account: str, kind: str, name: str) -> bool:
    region = config.region
    try:
        match kind:
            case "AWS::Lambda::Function":
                connect("lambda", region).get_function_configuration(FunctionName=name)
            case "AWS::StepFunctions::StateMachine":
                machines = connect("stepfunctions", region)
                arn = f"arn:{machines.meta.partition}:states:{region}:{account}:stateMachine:{name}"
                machines.describe_state_machine(stateMachineArn=arn)
            case _:
                return bool(connect("cloudwatch", region).describe_alarms(AlarmNames=[name])["MetricAlarms"])
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return False
        raise
    return True


def _check_mail(config: Config, connect: Connect, account: str) -> Iterator[Finding]:
    if not (config.alert_email or config.defect_email or config.safety_email):
        fix = "Set one, or subscribe to the topics in the stacks' outputs: -c alert_email=you@example.com"
        yield Finding("e-mail", "warning", "No address is set: nobody is told of what fails.", fix)
        return
    formation, topics = connect("cloudformation", config.region), connect("sns", config.region)
    deployed = False
    for stack in stack_names(config):
        if not _stack_status(connect, config, stack):
            continue
        deployed = True
        for page in formation.get_paginator("list_stack_resources").paginate(StackName=stack):
            for resource in page["StackResourceSummaries"]:
                if resource["ResourceType"] == "AWS::SNS::Topic":
                    yield from _unconfirmed(topics, resource["PhysicalResourceId"])
    if not deployed:
        fix = "Open the mails that SNS sends at the first deployment, and follow their links."
        yield Finding("e-mail", "warning", "Addresses have to be confirmed after the first deployment.", fix)


def _unconfirmed(topics: BaseClient, topic: str) -> Iterator[Finding]:
    name = topic.rpartition(":")[2]
    for page in topics.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
        for subscription in page["Subscriptions"]:
            if subscription["Protocol"] != "email":
                continue
            if subscription["SubscriptionArn"] == "PendingConfirmation":
                fix = "Follow the link in the mail `AWS Notification - Subscription Confirmation`."
                yield Finding("e-mail", "fails", f"{subscription['Endpoint']} has not confirmed {name}.", fix)
            else:
                yield Finding("e-mail", "well", f"{subscription['Endpoint']} is told by {name}.")
