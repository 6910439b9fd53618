"""What becomes of resources that hold data when their stack is deleted."""

from __future__ import annotations

from aws_cdk import Aws, Fn, RemovalPolicy

from defectory.config import Config


def removal_policy(config: Config) -> RemovalPolicy:
    """Kept with its data or deleted, as configured; what a deployment that failed made anew is deleted either way."""
    return RemovalPolicy.DESTROY if config.removal_policy == "destroy" else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE


def name_of_its_own(name: str) -> str:
    """``name`` with eight characters that no other deployment of the stack has.

    For what CloudFormation cannot name itself: what is kept of a deleted stack would be in the way of the next one.
    """
    # arn:<partition>:cloudformation:<region>:<account>:stack/<name>/<UUID>
    return f"{name}-{Fn.select(0, Fn.split('-', Fn.select(2, Fn.split('/', Aws.STACK_ID))))}"
