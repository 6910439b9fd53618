"""Composing the app: configuration from the context, one stack a capability."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from defectory.config import load_config
from stacks.budget import Budget
from stacks.company_account import apply_company_rules
from stacks.dashboards import add_dashboard
from stacks.image_synthesis import ImageSynthesis
from stacks.inspection import Inspection
from stacks.sensor_data import SensorData

ROOT = Path(__file__).parent.parent


def create_app(
    environ: Mapping[str, str], context: Mapping[str, Any] | None = None, outdir: Path | None = None
) -> cdk.App:
    """The app, not yet synthesised.

    Args:
        environ: where the region, the account and the CDK's own variables are looked up.
        context: wins over cdk.json's, which counts even where no cdk command has read it; what the cdk command was
            given with ``-c`` wins over both.
        outdir: where the cloud assembly goes; where the cdk command or ``CDK_OUTDIR`` says if None.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """
    app = cdk.App(
        context={**json.loads((ROOT / "cdk.json").read_text())["context"], **(context or {})},
        outdir=str(outdir) if outdir else None,
        analytics_reporting=False,
    )
    config = load_config(app.node.get_all_context(), environ)
    env = cdk.Environment(account=environ.get("CDK_DEFAULT_ACCOUNT"), region=config.region)
    stacks = (
        SensorData(app, f"{config.name}-sensor-data", config=config, env=env),
        Inspection(app, f"{config.name}-inspection", config=config, env=env),
        ImageSynthesis(app, f"{config.name}-image-synthesis", config=config, env=env),
    )
    if config.budget_usd_per_month:
        Budget(app, f"{config.name}-budget", config=config, env=env)
    if config.dashboards:
        for stack in stacks:
            add_dashboard(stack)
    apply_company_rules(app, config)
    return app
