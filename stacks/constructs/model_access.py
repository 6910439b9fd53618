"""Leave to call the configured text model, and no other."""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_iam as iam

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge


def grant_invoke_model(role: iam.Role, config: Config) -> None:
    """Let ``role`` call the model of ``config``: the inference profile, and through it alone the model where it routes.

    Does nothing when no model writes the scripts.
    """
    profile = config.profile
    if config.author != "bedrock" or profile is None:
        return
    bedrock = f"arn:{Aws.PARTITION}:bedrock"
    profile_arn = f"{bedrock}:{config.region}:{Aws.ACCOUNT_ID}:inference-profile/{profile.profile_id}"
    role.add_to_policy(iam.PolicyStatement(actions=["bedrock:InvokeModel"], resources=[profile_arn]))
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["bedrock:InvokeModel"],
            resources=[
                f"{bedrock}:{region}::foundation-model/{profile.model}"
                for region in profile.model_regions(config.region)
            ],
            conditions={"StringEquals": {"bedrock:InferenceProfileArn": profile_arn}},
        )
    )
    if profile.provider != "amazon":
        # Bedrock subscribes to a third party's model on its first call, in the caller's name.
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[f"aws-marketplace:{verb}" for verb in ("Subscribe", "Unsubscribe", "ViewSubscriptions")],
                resources=["*"],
                conditions={"StringEquals": {"aws:CalledViaLast": "bedrock.amazonaws.com"}},
            )
        )
        acknowledge(role, {"IAM5[Resource::*]": "AWS Marketplace knows no resources; only Bedrock may ask, on a call."})
