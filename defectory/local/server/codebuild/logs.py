"""Where a build's log goes in CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def log_place(project: Mapping[str, Any], build_id: str) -> dict[str, Any]:
    """Group and stream as the project says, else as CodeBuild does by itself."""
    configured = (project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
    stream = build_id.rpartition(":")[2]
    if prefix := configured.get("streamName"):
        stream = f"{prefix}/{stream}"
    return {
        "groupName": configured.get("groupName") or f"/aws/codebuild/{project['name']}",
        "streamName": stream,
        "cloudWatchLogs": {"status": "ENABLED"},
    }
