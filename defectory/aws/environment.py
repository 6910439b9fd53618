"""Environment variables of a function: read once, typed, and named where one is missing or wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import AliasGenerator, BaseModel, ConfigDict, ValidationError

from defectory.errors import DefectoryError, FailureKind, shorten


class FunctionEnvironmentError(DefectoryError):
    """A function was deployed, or is run, without an environment variable that it needs, or with a wrong one."""

    code = "WrongEnvironment"
    kind = FailureKind.ENVIRONMENT


class FunctionEnvironment(BaseModel):
    """The environment variables of a function; a handler derives its own, with a field in lower case for each.

    Other variables are ignored; a field with a default need not be set.  ``deployment`` is the deployment's name.

    >>> class Environment(FunctionEnvironment):
    ...     results_table: str
    ...     retention_days: int = 365
    >>> Environment.load({"RESULTS_TABLE": "inspections", "PATH": "/bin"})
    Environment(deployment='defectory', results_table='inspections', retention_days=365)
    """

    model_config = ConfigDict(frozen=True, alias_generator=AliasGenerator(validation_alias=str.upper))

    deployment: str = "defectory"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the variables from ``environ``, from the process's own if None.

        Raises:
            FunctionEnvironmentError: variables are missing or wrong; the message names all of them.
        """
        try:
            return cls.model_validate(os.environ if environ is None else environ)
        except ValidationError as error:
            problems = [
                f"{detail['loc'][0]} is not set"
                if detail["type"] == "missing"
                else f"{detail['loc'][0]} is {shorten(repr(detail['input']))} ({detail['msg']})"
                for detail in error.errors(include_url=False)
            ]
            raise FunctionEnvironmentError(
                f"Environment of the function: {'; '.join(problems)}. The stack sets them where it builds the function "
                "(stacks/): deploy it again. Set them yourself where you run the handler without it."
            ) from None
