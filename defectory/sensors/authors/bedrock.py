"""The Bedrock author: a model lists the machines and writes the scripts, each in a conversation of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from defectory.aws.bedrock import BedrockModel, ModelReply, Tool
from defectory.aws.tokens import OnTokens, ServiceTier, TokenUsage, ignore_tokens
from defectory.errors import AuthorError, ReplyError, ServiceError
from defectory.sensors.authors import (
    AUTHORS_AT_ONCE,
    AuthorName,
    MachineListing,
    PromptStyle,
    Script,
    ScriptTask,
)
from defectory.sensors.authors.prompts import again_prompt, list_prompt, repair_prompt, script_prompt, script_rules
from defectory.sensors.machines import parse_machine_list, read_machine_names
from defectory.sensors.scripts import extract_script

T = TypeVar("T")

ASKED_AT_MOST = 2
# Bedrock counts the bound against the quota of tokens a minute when a request begins, so it starts low.
MORE_AFTER_TRUNCATION = 2

MACHINES_TOOL = Tool(
    "report_machines",
    "Reports the machines that stand on the shop floor.",
    {"machines": {"type": "array", "items": {"type": "string"}, "description": "Names of types of machines"}},
)


@dataclass(frozen=True, slots=True)
class _Effort:
    """Bounds of one piece of work: tokens of the first reply, seconds until the last attempt begins, its time-out."""

    max_tokens: int
    patience: float
    read_timeout: float


# Listing is done while somebody waits, by a function that has five minutes in all.
LISTING = _Effort(max_tokens=4_000, patience=150.0, read_timeout=120.0)
WRITING = _Effort(max_tokens=8_000, patience=900.0, read_timeout=300.0)


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    """A prompt, how its answer is read, and what it is about; ``tool`` and ``cached`` are as for `BedrockModel.ask`."""

    prompt: str
    read: Callable[[ModelReply], T]
    what: str
    tool: Tool | None = None
    cached: int = 0
    tier: ServiceTier = "default"


@dataclass(slots=True)
class _Answer(Generic[T]):
    """What was read, the prompt that brought it, the tokens of all replies and the tier of the last."""

    content: T
    prompt: str
    tokens: TokenUsage
    tier: str


class BedrockAuthor:
    """Author ``bedrock``.  Safe for parallel use: it keeps nothing between calls, and clients are shared.

    An answer that is truncated, refused or unusable is asked for once more, with the reason, and then reported.
    """

    name: AuthorName = "bedrock"

    def __init__(
        self,
        lister: BedrockModel,
        writer: BedrockModel,
        prompt_style: PromptStyle = "library",
        tier: ServiceTier = "default",
        on_tokens: OnTokens = ignore_tokens,
    ) -> None:
        self._lister, self._writer, self._style = lister, writer, prompt_style
        self._tier, self._on_tokens = tier, on_tokens

    @classmethod
    def connect(
        cls,
        model_id: str,
        *,
        base_model_id: str | None = None,
        prompt_style: PromptStyle = "library",
        tier: ServiceTier = "default",
        region: str | None = None,
        on_tokens: OnTokens = ignore_tokens,
    ) -> BedrockAuthor:
        """Make an author that asks ``model_id`` (an inference profile) in ``region``, or the environment's.

        The other arguments are those of `create_author`.

        Raises:
            InputError: no region is given or configured.
        """
        lister, writer = (
            BedrockModel.connect(model_id, base_model_id=base_model_id, region=region, read_timeout=effort.read_timeout)
            for effort in (LISTING, WRITING)
        )
        return cls(lister, writer, prompt_style, tier, on_tokens)

    def list_machines(self, industry: str, number: int) -> MachineListing:
        """The first ``number`` machines that the model names.

        Raises:
            AuthorError: the model could not be asked, or cut its answer off or refused it twice.
            ReplyError: its second answer, too, holds no list.
        """
        tool = MACHINES_TOOL if self._lister.capabilities.tools else None
        prompt = list_prompt(industry, number, tool=tool.name if tool else "")
        # Never flex: somebody waits.
        question = _Question(prompt, _machines, f"list machines of {industry!r}", tool)
        names = self._ask(self._lister, LISTING, question).content
        note = f"The model named {len(names)} machines, {number} were asked for." if len(names) < number else ""
        return MachineListing(tuple(names[:number]), note)

    def write_script(self, task: ScriptTask) -> Script:
        """Have the script for one machine written.

        Raises:
            AuthorError: the model could not be asked, or cut its answer off or refused it twice.
            ReplyError: its second answer, too, holds no whole script.
        """
        return self._script(task, script_prompt(task, self._style), f"write a script for {task.machine!r}")

    def repair_script(self, task: ScriptTask, script: Script, failures: Sequence[str]) -> Script:
        """Have a script corrected, given what was wrong with it; the conversation knows nothing else.

        Raises:
            AuthorError, ReplyError: as for ``write_script``.
        """
        prompt = repair_prompt(script_prompt(task, self._style), script.source, failures)
        return self._script(task, prompt, f"repair the script for {task.machine!r}", script.tokens)

    def _script(self, task: ScriptTask, prompt: str, what: str, spent: TokenUsage | None = None) -> Script:
        rules = len(script_rules(task.year, self._style))
        pays = self._writer.capabilities.caching_pays(rules, task.siblings, AUTHORS_AT_ONCE)
        question = _Question(
            prompt, lambda reply: extract_script(reply.text), what, cached=rules if pays else 0, tier=self._tier
        )
        answer = self._ask(self._writer, WRITING, question)
        return Script(
            source=answer.content,
            author="bedrock",
            trusted=False,
            prompt=answer.prompt,
            model_id=self._writer.model_id,
            prompt_style=self._style,
            tokens=answer.tokens + spent if spent else answer.tokens,
            tier=answer.tier,
        )

    def _ask(self, model: BedrockModel, effort: _Effort, question: _Question[T]) -> _Answer[T]:
        """Ask, and ask again where the first answer is of no use; the second answer is text, without a tool."""
        deadline = time.monotonic() + effort.patience
        prompt, max_tokens, tool, tokens = question.prompt, effort.max_tokens, question.tool, TokenUsage()
        for attempt in range(1, ASKED_AT_MOST + 1):
            try:
                reply = model.ask(
                    prompt,
                    max_tokens=max_tokens,
                    tool=tool,
                    cached=question.cached,
                    tier=question.tier,
                    patience=deadline - time.monotonic(),
                )
            except ServiceError as error:
                raise AuthorError(f"Cannot {question.what}: {error}") from error
            tokens += reply.usage
            self._on_tokens(model.model_id, reply.tier, reply.usage)
            try:
                _require_complete(reply, model, max_tokens)
                return _Answer(question.read(reply), prompt, tokens, reply.tier)
            except (AuthorError, ReplyError) as error:
                if attempt == ASKED_AT_MOST or time.monotonic() > deadline or reply.ending == "overflow":
                    history = f"{model.model_id} was asked {attempt} times" if attempt > 1 else model.model_id
                    raise type(error)(f"Cannot {question.what}: {history}. {error}") from error
                prompt, tool = again_prompt(question.prompt, str(error)), None
                if reply.ending == "truncated":
                    max_tokens *= MORE_AFTER_TRUNCATION
        raise AssertionError("the last attempt returns or raises")


def _machines(reply: ModelReply) -> list[str]:
    """The machines that the tool was called with, or those that the text lists.

    Raises:
        ReplyError: there are none.
    """
    if reply.tool_input is None:
        return parse_machine_list(reply.text)
    return read_machine_names(reply.tool_input.get("machines") if isinstance(reply.tool_input, dict) else None)


def _require_complete(reply: ModelReply, model: BedrockModel, max_tokens: int) -> None:
    """Raise where the model did not end by itself; what it said so far is not to be used.

    Raises:
        AuthorError: what happened, and what helps.
    """
    if reply.ending == "complete":
        return
    at_limit = model.bound(max_tokens) == model.capabilities.max_output_tokens
    reasons = {
        "truncated": f"The answer was cut off after {reply.usage.output} tokens; it has to be shorter."
        + (" This model gives no longer ones; another may." if at_limit else ""),
        "overflow": "Question and answer do not fit into the model's context window: choose a model with a larger one.",
        "refused": "The model or a guardrail withheld the answer.",
        "malformed": "The model broke off with something that is no answer.",
    }
    raise AuthorError(f"{reasons[reply.ending]} (Stop reason: {reply.stop_reason})")
