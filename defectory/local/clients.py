"""Clients of a local cloud, whatever this machine is configured for."""

from __future__ import annotations

import os
from functools import cache

import boto3
import botocore.session
from botocore.client import BaseClient
from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.model import ServiceModel


def connect(service: str, endpoint: str, key: str, secret: str, region: str, token: str | None = None) -> BaseClient:
    """A boto3 client of a local cloud that heeds neither profiles nor configuration files."""
    # Name in the configuration, environment variable, default, conversion: as botocore lists its own.
    deaf = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull}
    session = botocore.session.Session({name: (None, None, value, None) for name, value in deaf.items()})
    session.register_component("data_loader", _loader())
    return boto3.session.Session(botocore_session=session).client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        # The only signatures that the local cloud knows; left to itself, boto3 presigns addresses with older ones.
        config=Config(
            retries={"mode": "standard", "max_attempts": 3},
            read_timeout=300,
            signature_version="s3v4" if service == "s3" else None,
            # What is on this machine no proxy reaches.
            proxies={},
        ),
    )


@cache
def service_model(service: str) -> ServiceModel:
    """What botocore knows of a service: its operations with their parameters."""
    return ServiceModel(_loader().load_service_model(service, "service-2"), service)


@cache
def _loader() -> Loader:
    # Whoever reads for himself spends a tenth of a second on each client.
    return create_loader()
