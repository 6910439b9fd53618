"""Leave to call the configured models, and no others."""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_iam as iam

from defectory.aws.inference_profiles import (
    answering_regions,
    application_profile_region,
    bare_model_id,
    profile_of,
    provider_of,
)
from defectory.config import IMAGE_MODELS, Config
from stacks.constructs.acknowledgements import acknowledge

_INVOKE = ["bedrock:InvokeModel"]


def grant_invoke_model(role: iam.Role, config: Config) -> None:
    """Let ``role`` call the text model of ``config``.  Does nothing when no model writes the scripts."""
    if config.author != "bedrock":
        return
    if application_profile_region(config.model_id):
        _grant_profile(role, config.model_id, _model_arns(config.routed_model_id, config.region))
        _grant_subscription(role, {provider_of(config.routed_model_id)})
    else:
        _grant_models(role, {config.model_id}, config.region)


def grant_image_models(role: iam.Role, config: Config) -> None:
    """Let ``role`` call the image models of ``config``, in the region that they are called in."""
    _grant_models(role, {getattr(config, name) for name in IMAGE_MODELS} - {""}, config.image_region)


def grant_inpaint_model(role: iam.Role, config: Config) -> None:
    """Let ``role`` call the image model of ``config`` that inpaints, in the region that it is called in."""
    _grant_models(role, {config.inpaint_model_id} - {""}, config.image_region)


def _grant_models(role: iam.Role, model_ids: set[str], region: str) -> None:
    for model_id in sorted(model_ids):
        models = _model_arns(model_id, region)
        if profile_of(model_id, "model_id"):
            profile = f"arn:{Aws.PARTITION}:bedrock:{region}:{Aws.ACCOUNT_ID}:inference-profile/{model_id}"
            _grant_profile(role, profile, models)
        else:
            role.add_to_policy(iam.PolicyStatement(actions=_INVOKE, resources=models))
    _grant_subscription(role, {provider_of(model_id) for model_id in model_ids})


def _grant_profile(role: iam.Role, profile_arn: str, models: list[str]) -> None:
    """Leave for an inference profile, and through it alone for the model wherever it routes to."""
    role.add_to_policy(iam.PolicyStatement(actions=_INVOKE, resources=[profile_arn]))
    role.add_to_policy(
        iam.PolicyStatement(
            actions=_INVOKE,
            resources=models,
            conditions={"StringEquals": {"bedrock:InferenceProfileArn": profile_arn}},
        )
    )


def _grant_subscription(role: iam.Role, providers: set[str]) -> None:
    """Bedrock subscribes to a third party's model on its first call, in the caller's name."""
    if not providers - {"amazon"}:
        return
    role.add_to_policy(
        iam.PolicyStatement(
            actions=[f"aws-marketplace:{verb}" for verb in ("Subscribe", "Unsubscribe", "ViewSubscriptions")],
            resources=["*"],
            conditions={"StringEquals": {"aws:CalledViaLast": "bedrock.amazonaws.com"}},
        )
    )
    acknowledge(role, {"IAM5[Resource::*]": "AWS Marketplace knows no resources; only Bedrock may ask, on a call."})


def _model_arns(model_id: str, region: str) -> list[str]:
    """The model that ``model_id`` names, or routes to, in every region that may answer a call from ``region``."""
    model = bare_model_id(model_id)
    return [
        f"arn:{Aws.PARTITION}:bedrock:{answering}::foundation-model/{model}"
        for answering in answering_regions(model_id, region)
    ]
