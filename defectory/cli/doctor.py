"""``defectory doctor``: ask the AWS account what of a deployment would fail, before it is paid for."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.local.up import ContextOption, parse_settings
from defectory.cli.options import JsonOption
from defectory.errors import require_extra

if TYPE_CHECKING:
    from defectory.doctor import Finding

RegionOption = Annotated[str | None, typer.Option(help="Region to deploy to.", show_default="from AWS_REGION")]


def doctor(context: ContextOption = None, region: RegionOption = None, as_json: JsonOption = False) -> None:
    """Ask the AWS account what would fail of a deployment with these settings, and say the command that mends it.

    Asks for credentials, region, the CDK's bootstrap stack, access to models, quotas, stacks and names in the way,
    confirmed e-mail addresses, and a company's boundary, key and network. Changes nothing, and calls nothing that
    costs. Exit code 1 if something would fail.

    Examples:

        defectory doctor --region eu-west-1

        defectory doctor -c name=pilot -c inspection_endpoint=realtime --json
    """
    require_extra("aws")
    require_extra("deploy")
    from defectory.cli.output import print_json, print_table
    from defectory.config import GROUP, load_config
    from defectory.doctor import examine
    from defectory.local.synth import find_app, read_context

    settings: dict[str, object] = dict(parse_settings(context or []))
    if region:
        settings["region"] = region
    # The setting given here wins over that of the file.
    context_of_file = read_context(find_app())
    configured = {**context_of_file, GROUP: {**context_of_file.get(GROUP, {}), **settings}}
    config = load_config(configured, os.environ)
    findings = list(examine(config))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [_row(finding) for finding in findings]
        print_table(f"{config.name} in {config.region}", ("", "check", "finding"), rows, unbroken="check", lines=True)
    if any(finding.status == "fails" for finding in findings):
        raise typer.Exit(1)


_MARKS = {"well": "✓", "warning": "!", "fails": "✗", "unknown": "?"}


def _row(finding: Finding) -> dict[str, str]:
    said = f"{finding.detail}\n→ {finding.fix}" if finding.fix else finding.detail
    return {"": _MARKS[finding.status], "check": finding.check, "finding": said}
