"""The Bedrock author: a model lists the machines and writes the scripts, each in a conversation of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from defectory.aws.bedrock import BedrockModel, ModelReply
from defectory.errors import AuthorError, ReplyError, ServiceError
from defectory.sensors.authors import AuthorName, MachineListing, PromptStyle, Script, ScriptTask
from defectory.sensors.authors.prompts import again_prompt, list_prompt, repair_prompt, script_prompt
from defectory.sensors.machines import parse_machine_list
from defectory.sensors.scripts import extract_script

T = TypeVar("T")

ASKED_AT_MOST = 2


@dataclass(frozen=True, slots=True)
class _Effort:
    """Bounds of one piece of work: tokens of the first reply, seconds until the last attempt begins, its time-out."""

    max_tokens: int | None
    patience: float
    read_timeout: float


# Listing is done while somebody waits, by a function that has five minutes in all.
LISTING = _Effort(max_tokens=4_000, patience=150.0, read_timeout=120.0)
WRITING = _Effort(max_tokens=8_000, patience=900.0, read_timeout=300.0)


class BedrockAuthor:
    """Author ``bedrock``.  Safe for parallel use: it keeps nothing between calls, and clients are shared.

    An answer that is truncated, refused or unusable is asked for once more, with the reason, and then reported.
    """

    name: AuthorName = "bedrock"

    def __init__(self, lister: BedrockModel, writer: BedrockModel, prompt_style: PromptStyle = "library") -> None:
        self._lister, self._writer, self._style = lister, writer, prompt_style

    @classmethod
    def connect(cls, model_id: str, prompt_style: PromptStyle = "library", region: str | None = None) -> BedrockAuthor:
        """Make an author that asks ``model_id`` (an inference profile) in ``region``, or the environment's.

        Raises:
            InputError: no region is given or configured.
        """
        lister, writer = (
            BedrockModel.connect(model_id, region=region, read_timeout=effort.read_timeout)
            for effort in (LISTING, WRITING)
        )
        return cls(lister, writer, prompt_style)

    def list_machines(self, industry: str, number: int) -> MachineListing:
        """The first ``number`` machines that the model names.

        Raises:
            AuthorError: the model could not be asked, or cut its answer off or refused it twice.
            ReplyError: its second answer, too, holds no list.
        """
        what = f"list machines of {industry!r}"
        names, _ = self._ask(self._lister, LISTING, list_prompt(industry, number), parse_machine_list, what)
        note = f"The model named {len(names)} machines, {number} were asked for." if len(names) < number else ""
        return MachineListing(tuple(names[:number]), note)

    def write_script(self, task: ScriptTask) -> Script:
        """Have the script for one machine written.

        Raises:
            AuthorError: the model could not be asked, or cut its answer off or refused it twice.
            ReplyError: its second answer, too, holds no whole script.
        """
        return self._script(script_prompt(task, self._style), f"write a script for {task.machine!r}")

    def repair_script(self, task: ScriptTask, script: Script, failures: Sequence[str]) -> Script:
        """Have a script corrected, given what was wrong with it; the conversation knows nothing else.

        Raises:
            AuthorError, ReplyError: as for ``write_script``.
        """
        prompt = repair_prompt(script_prompt(task, self._style), script.source, failures)
        return self._script(prompt, f"repair the script for {task.machine!r}")

    def _script(self, prompt: str, what: str) -> Script:
        source, final_prompt = self._ask(self._writer, WRITING, prompt, extract_script, what)
        return Script(
            source=source,
            author="bedrock",
            trusted=False,
            prompt=final_prompt,
            model_id=self._writer.model_id,
            prompt_style=self._style,
        )

    def _ask(
        self, model: BedrockModel, effort: _Effort, prompt: str, read: Callable[[str], T], what: str
    ) -> tuple[T, str]:
        """What ``read`` makes of the reply, and the prompt that brought it."""
        deadline = time.monotonic() + effort.patience
        current_prompt, max_tokens, attempt = prompt, effort.max_tokens, 1
        while True:
            try:
                reply = model.ask(current_prompt, max_tokens=max_tokens, patience=deadline - time.monotonic())
            except ServiceError as error:
                raise AuthorError(f"Cannot {what}: {error}") from error
            try:
                return read(_complete_text(reply)), current_prompt
            except (AuthorError, ReplyError) as error:
                if attempt == ASKED_AT_MOST or time.monotonic() > deadline:
                    history = f"{model.model_id} was asked {attempt} times" if attempt > 1 else model.model_id
                    raise type(error)(f"Cannot {what}: {history}. {error}") from error
                current_prompt, attempt = again_prompt(prompt, str(error)), attempt + 1
                if reply.ending == "truncated":
                    max_tokens = None  # as many as the model can


def _complete_text(reply: ModelReply) -> str:
    """The reply's text.

    Raises:
        AuthorError: the model did not end by itself; what it said so far is not to be used.
    """
    if reply.ending == "complete":
        return reply.text
    reasons = {
        "truncated": f"The answer was cut off after {reply.output_tokens} tokens; it has to be shorter.",
        "refused": "The model or a guardrail withheld the answer.",
        "malformed": "The model broke off with something that is no answer.",
    }
    raise AuthorError(f"{reasons[reply.ending]} (Stop reason: {reply.stop_reason})")
