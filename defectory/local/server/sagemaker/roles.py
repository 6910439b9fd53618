"""What SageMaker does with a job's or a model's role before the container runs: pull the image, encrypt the disk."""

from __future__ import annotations

import re

from defectory.local.server.authorization.permissions import Access, NotAuthorized, Permissions, Session
from defectory.local.server.authorization.requirements import for_volume
from defectory.local.server.sagemaker.volume import ContentError

SERVICE = "sagemaker.amazonaws.com"
_ECR = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[\w-]+)\.amazonaws\.com[\w.]*/(?P<repository>[^:@]+)")


def require_image(image: str, session: Session, permissions: Permissions) -> None:
    """Let pass an image that the role may pull.

    Raises:
        ContentError: it may not.
    """
    place = _ECR.match(image)
    if place is None:
        return
    repository = f"arn:aws:ecr:{place['region']}:{place['account']}:repository/{place['repository']}"
    pulling = (f"ecr:{verb}" for verb in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"))
    try:
        permissions.require(
            session,
            Access("ecr:GetAuthorizationToken"),
            *(Access(action, repository) for action in pulling),
        )
    except NotAuthorized as denial:
        raise ContentError(f"The image {image} cannot be pulled: {denial}") from None


def require_key(key: str, session: Session, permissions: Permissions) -> None:
    """Let pass a KMS key for the disks of a job's instances that the role may use.

    Raises:
        ContentError: it may not.
    """
    try:
        permissions.require(session, *for_volume(key))
    except NotAuthorized as denial:
        raise ContentError(f"The volume cannot be encrypted: {denial}") from None
