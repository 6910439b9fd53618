"""Composing the app: configuration from the context, one stack a capability."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from defectory.config import BUDGET_STACK, STACKS, Config, load_config
from defectory.errors import ConfigError
from stacks.budget import Budget
from stacks.capability import Capability
from stacks.company_account import apply_company_rules
from stacks.dashboards import add_dashboard
from stacks.detection import Detection
from stacks.image_synthesis import ImageSynthesis
from stacks.inspection import Inspection
from stacks.sensor_data import SensorData

ROOT = Path(__file__).parent.parent
CAPABILITIES: Mapping[str, type[Capability]] = dict(
    zip(STACKS, (SensorData, Inspection, ImageSynthesis, Detection), strict=True)
)


def create_app(
    environ: Mapping[str, str], context: Mapping[str, Any] | None = None, outdir: Path | None = None
) -> cdk.App:
    """The app, not yet synthesised.

    A stack that cannot run in the region is left out, which is said on standard error; the others do not need it.

    Args:
        environ: where the region, the account and the CDK's own variables are looked up.
        context: wins over cdk.json's, which counts even where no cdk command has read it; what the cdk command was
            given with ``-c`` wins over both.
        outdir: where the cloud assembly goes; where the cdk command or ``CDK_OUTDIR`` says if None.

    Raises:
        ConfigError: a setting is unknown or wrong, or no stack can run in the region.
    """
    app = cdk.App(
        context={**json.loads((ROOT / "cdk.json").read_text())["context"], **(context or {})},
        outdir=str(outdir) if outdir else None,
        analytics_reporting=False,
    )
    config = load_config(app.node.get_all_context(), environ)
    env = cdk.Environment(account=environ.get("CDK_DEFAULT_ACCOUNT"), region=config.region)
    stacks = _build_stacks(app, config, env)
    if config.budget_usd_per_month:
        Budget(app, f"{config.name}-{BUDGET_STACK}", config=config, env=env)
    if config.dashboards:
        for stack in stacks:
            add_dashboard(stack)
    apply_company_rules(app, config)
    return app


def _build_stacks(app: cdk.App, config: Config, env: cdk.Environment) -> list[Capability]:
    stacks, refusals = [], []
    for suffix, capability in CAPABILITIES.items():
        name = f"{config.name}-{suffix}"
        try:
            stacks.append(capability(app, name, config=config, env=env))
        except ConfigError as error:
            app.node.try_remove_child(name)
            refusals.append(error)
            print(f"{error.code}: the stack {name} is left out. {error}", file=sys.stderr)
    if len(refusals) == len(CAPABILITIES):
        raise refusals[0]
    return stacks
