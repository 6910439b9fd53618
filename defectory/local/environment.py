"""Environment variables: what clients of the local cloud need, and what its processes may inherit."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Would send a client elsewhere, or make it fail on a profile that the local cloud knows nothing of.
SCRUBBED = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)

# What a process of the cloud inherits from the user's environment: how to find programs, certificates, proxies and
# packages, and where other services were said to be.  Nothing else, so that what works here works in AWS too.
_INHERITED = frozenset(
    {
        "PATH",
        "LANG",
        "TZ",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SYSTEMROOT",
    }
)
_INHERITED_PREFIXES = ("LC_", "PIP_", "UV_", "AWS_ENDPOINT_URL_", "COVERAGE_PROCESS_")


def choose_region(environment: Mapping[str, str]) -> str:
    """The region to pretend to be, as AWS's own tools would choose it, else `DEFAULT_REGION`."""
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def inherited(base: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``base`` that processes of the cloud may see; loopback is reached by no proxy."""
    variables = {
        name: value
        for name, value in base.items()
        if name.upper() in _INHERITED or name.upper().startswith(_INHERITED_PREFIXES)
    }
    return variables | past_proxies(base)


def past_proxies(base: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep loopback from the proxies that ``base`` names; none where it names none."""
    if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") and base[name] for name in base):
        return {}
    # In small letters it wins; a program may know either.
    excepted = base.get("no_proxy") or base.get("NO_PROXY") or ""
    hosts = [host for host in LOOPBACK if host not in excepted.split(",")]
    value = ",".join(filter(None, (excepted, *hosts)))
    return {"NO_PROXY": value, "no_proxy": value}


def client_environment(endpoint: str, key: str, secret: str, region: str) -> dict[str, str]:
    """What makes the ``aws`` command, boto3 and every other AWS client talk to the local cloud."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        # The operator's key is the account: MiniStack takes one of twelve digits for that.
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **past_proxies(os.environ),
    }


def with_interpreter_first(path: str) -> str:
    """``path`` with the folder of the running Python first, so that ``python`` is the one with the requirements."""
    return os.pathsep.join([str(Path(sys.executable).parent), *filter(None, path.split(os.pathsep))])
