"""Reading a template as what it does: who may do what on which resource, what is wired to what."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk


@dataclass(frozen=True)
class Leave:
    """One action on one resource that a policy allows; references are written as ``<LogicalId.Attribute>``."""

    action: str
    resource: str
    conditions: str = ""


@dataclass(frozen=True, eq=False)
class Template:
    """A synthesised template."""

    body: Mapping[str, Any]
    app: cdk.App

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of the resources of a type, by logical id."""
        resources = self.body["Resources"].items()
        return {name: resource.get("Properties", {}) for name, resource in resources if resource["Type"] == kind}

    def only(self, kind: str, like: str = "") -> str:
        """The logical id of the one resource of a type whose id has ``like`` in it."""
        [name] = [name for name in self.of_type(kind) if like in name]
        return name

    def project(self, action: str) -> dict[str, Any]:
        """The build project that runs ``buildspec/<action>.yml``."""
        [project] = [
            project
            for project in self.of_type("AWS::CodeBuild::Project").values()
            if project["Source"]["BuildSpec"] == f"buildspec/{action}.yml"
        ]
        return project

    def function(self, like: str) -> dict[str, Any]:
        """The function whose logical id has ``like`` in it."""
        return self.of_type("AWS::Lambda::Function")[self.only("AWS::Lambda::Function", like)]

    def roles(self) -> dict[str, str]:
        """Logical ids of the roles of the five actions and the two functions, by name."""
        actions = {name: self.project(name)["ServiceRole"] for name in ("write", "run", "repair", "rerun", "publish")}
        functions = {name: self.function(name)["Role"] for name in ("RequestSensorData", "CloseFailedRequest")}
        return {name: role["Fn::GetAtt"][0] for name, role in {**actions, **functions}.items()}

    def leaves(self, role: str) -> set[Leave]:
        """Everything that the policies of a role allow."""
        properties = self.of_type("AWS::IAM::Role")[role]
        assert "ManagedPolicyArns" not in properties, "a managed policy allows more than this template says"
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
        for policy in self.of_type("AWS::IAM::Policy").values():
            if {"Ref": role} in policy["Roles"]:
                documents.append(policy["PolicyDocument"])
        return {leave for document in documents for leave in _leaves(document)}


def is_tracing(action: str) -> bool:
    """Whether it is what Lambda does to trace a function, which knows no resources."""
    return action in ("xray:PutTraceSegments", "xray:PutTelemetryRecords")


def _leaves(document: Mapping[str, Any]) -> Iterator[Leave]:
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & statement.keys()
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                yield Leave(action, flat(resource), flat(statement.get("Condition", "")))


def matches(pattern: str, resource: str) -> bool:
    """Whether IAM takes ``resource`` to be named by ``pattern``."""
    return fnmatch.fnmatchcase(resource, pattern.replace("[", "[[]"))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def flat(value: Any) -> str:
    """A value with its references as text."""
    match value:
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case {"Ref": "AWS::AccountId"}:
            return "123456789012"
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(flat, parts))
        case {"Fn::Sub": text}:
            return text
        case dict():
            return ", ".join(f"{key}: {flat(inner)}" for key, inner in value.items())
        case list():
            return ", ".join(map(flat, value))
        case _:
            return str(value)
