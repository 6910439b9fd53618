"""CodeBuild projects with the properties that MiniStack drops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.services import codebuild
from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import replace, require

KEPT = ("LogsConfig", "SecondarySources", "SecondaryArtifacts", "QueuedTimeoutInMinutes")
RESOURCE_TYPE = "AWS::CodeBuild::Project"


def keep_properties() -> None:
    """Keep where a project's logs go, and what comes in and goes out besides its primary source and artifact."""
    handlers = require(provisioners, "_RESOURCE_HANDLERS")
    to_api = require(provisioners, "_codebuild_cfn_to_api", "value")
    projects = require(codebuild, "_projects")
    original = handlers[RESOURCE_TYPE]

    def keep(project_id: str, properties: Mapping[str, Any]) -> None:
        for name in KEPT:
            if name in properties:
                projects[project_id][name[0].lower() + name[1:]] = to_api(properties[name])

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:  # noqa: ANN401
        project_id, attributes = original["create"](logical_id, properties, stack)
        keep(project_id, properties)
        return project_id, attributes

    def update(project_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:  # noqa: ANN401
        updated_id, attributes = original["update"](project_id, old, new, stack)
        keep(updated_id, new)
        return updated_id, attributes

    handlers[RESOURCE_TYPE] = {**original, "create": create, "update": update}
    creating = {name[0].lower() + name[1:] for name in KEPT}

    @replace(codebuild, "_create_project", "data")
    def create_project(original: Any, data: dict[str, Any]) -> Any:  # noqa: ANN401
        reply = original(data)
        if reply[0] == 200:
            projects[data["name"]] |= {name: data[name] for name in creating if name in data}
        return reply
