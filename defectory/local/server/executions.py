"""What Step Functions refuses and MiniStack lets pass: names, definitions, data and histories that are too long.

Figures are those of https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html; which errors a state may
catch is said in https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html.
"""

from __future__ import annotations

import contextvars
import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Response, ServiceFault

MOST_BYTES = 262_144
"""Bytes of UTF-8 of what a state, a task or an execution takes and gives."""

MOST_EVENTS = 25_000
"""Events in the history of a standard execution, its end included."""

DEFINITION_BYTES = 1_048_576
NAME_LENGTH = 80
MAP_CONCURRENCY = 40
"""Iterations of an inline Map at a time."""

LONGEST_WAIT = 99_999_999
"""Seconds that a Wait may be told."""

NAME_KEPT = timedelta(days=90)
"""How long the name of an execution that has ended is taken."""

TERMINAL = ("States.DataLimitExceeded", "States.Runtime")
"""Errors that neither ``States.ALL`` nor ``States.TaskFailed`` matches."""

RESOURCE_TYPE = "AWS::StepFunctions::StateMachine"
_ENDS = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
_NOT_IN_NAMES = frozenset(' <>{}[]?*"#%\\^|~`$&,;:/')
# What the state that is being run has within it, Map or Parallel.
_within: contextvars.ContextVar[str] = contextvars.ContextVar("within", default="")

Json = Any


class Executions:
    """Holds state machines and their executions to the limits.

    ``most_events`` are those of a standard execution's history.
    """

    def __init__(self, most_events: int = MOST_EVENTS) -> None:
        self._most_events = most_events
        self._history = threading.Lock()
        self._failed = require(stepfunctions, "_ExecutionError")
        self._machines = require(stepfunctions, "_state_machines")
        self._executions = require(stepfunctions, "_executions")
        self._machine_of = require(stepfunctions, "_resolve_state_machine_arn", "arn")
        self._refuse = require(stepfunctions, "error_response_json", "code", "message", "status")
        self._answer = require(stepfunctions, "json_response", "data")
        self._now = require(stepfunctions, "now_iso")
        self._watch_requests()
        self._watch_definitions()
        self._watch_history()
        self._watch_results()
        self._watch_parts()

    def _watch_requests(self) -> None:
        self._check_first("_start_sync_execution", _check_start)
        self._check_first("_send_task_success", lambda data: _check_json(data.get("output", "{}"), "output"))
        self._check_first("_send_task_failure", _check_failure)
        self._check_first("_create_activity", lambda data: check_name(data.get("name")))
        for name in ("_create_state_machine", "_update_state_machine"):
            self._check_first(name, _check_machine)

        @replace(stepfunctions, "_start_execution", "data")
        def start(original: Callable[..., Response], data: dict[str, Any]) -> Response:
            return self._known(data) or original(data)

        self._check_first("_start_execution", _check_start)

    def _check_first(self, name: str, check: Callable[[Mapping[str, Any]], None]) -> None:
        @replace(stepfunctions, name, "data")
        def checked(original: Callable[..., Response], data: dict[str, Any]) -> Response:
            try:
                check(data)
            except ServiceFault as fault:
                refusal: Response = self._refuse(fault.code, str(fault), 400)
                return refusal
            return original(data)

    def _known(self, data: Mapping[str, Any]) -> Response | None:
        """The answer for an execution that is under way by that name with that input, as to whoever asks again."""
        machine = self._machines.get(self._machine_of(data.get("stateMachineArn", "").partition("#")[0]))
        if machine is None or "name" not in data:
            return None
        arn = f"{machine['stateMachineArn'].replace(':stateMachine:', ':execution:', 1)}:{data['name']}"
        found = self._executions.get(arn)
        if found is None:
            return None
        if found["status"] == "RUNNING":
            if found["input"] != data.get("input", "{}") or machine["type"] == "EXPRESS":
                return None
            same: Response = self._answer({"executionArn": arn, "startDate": found["startDate"]})
            return same
        if datetime.now(UTC) - datetime.fromisoformat(found["stopDate"]) > NAME_KEPT:
            del self._executions[arn]
        return None

    def _watch_definitions(self) -> None:
        # Updates by a template go through the API's function.
        handlers = require(provisioners, "_RESOURCE_HANDLERS")
        original = handlers[RESOURCE_TYPE]
        definition_of = require(provisioners, "_sfn_definition", "props")

        def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:  # noqa: ANN401
            if name := properties.get("StateMachineName"):
                check_name(name)
            definition = definition_of(properties)
            check_definition(definition if isinstance(definition, str) else json.dumps(definition))
            return original["create"](logical_id, properties, stack)

        handlers[RESOURCE_TYPE] = {**original, "create": create}

    def _watch_history(self) -> None:
        @replace(stepfunctions, "_add_event", "execution", "event_type", "details")
        def add(original: Any, execution: Any, kind: str, details: Any = None) -> Any:  # noqa: ANN401
            for told in (details or {}).values():
                if kind not in _ENDS and isinstance(told, dict):
                    # As it is written it is no shorter than in UTF-8 without spaces: read again only if too long.
                    text = told.get("input") or told.get("output") or ""
                    if len(text) > MOST_BYTES and size_of(json.loads(text)) > MOST_BYTES:
                        raise self._too_long(_subject(told))
            # Iterations and branches of one execution write at the same time.
            with self._history:
                if kind not in _ENDS and len(execution["events"]) >= self._most_events - 1 and self._counts(execution):
                    cause = f"The execution reached the maximum number of history events ({self._most_events})."
                    raise self._failed("States.Runtime", cause)
                event = original(execution, kind, details)
            if kind == "TaskScheduled":
                resource = details["taskScheduledEventDetails"]["resource"]
                self._add(execution, "TaskStarted", resource=resource)
                if resource.endswith((".sync", ".sync:2", ".waitForTaskToken")):
                    self._add(execution, "TaskSubmitted", resource=resource)
            return event

        self._write = require(stepfunctions, "_add_event", "execution", "event_type", "details")

        @replace(stepfunctions, "_error_matches", "error_equals", "error")
        def matches(original: Callable[..., bool], names: list[str], error: str) -> bool:
            return error in names if error in TERMINAL else original(names, error)

    def _counts(self, execution: Mapping[str, Any]) -> bool:
        """Whether the history is bounded: those of express executions are not."""
        machine = self._machines.get(execution["stateMachineArn"]) or {}
        return bool(execution.get("type", machine.get("type")) != "EXPRESS")

    def _add(self, execution: Any, kind: str, **details: Json) -> None:  # noqa: ANN401
        self._write(execution, kind, {f"{kind[0].lower()}{kind[1:]}EventDetails": details} if details else None)

    def _watch_results(self) -> None:
        """What tasks are given, and what comes of Maps and Parallels before any of it is selected."""
        for name in ("_invoke_resource", "_invoke_with_callback"):

            @replace(stepfunctions, name, "resource", "input_data")
            def invoke(original: Callable[..., Json], resource: str, data: Json, *rest: Any) -> Json:  # noqa: ANN401
                self._check(data, resource_name(resource))
                return original(resource, data, *rest)

        @replace(stepfunctions, "_apply_result_selector", "state_def", "data")
        def select(original: Callable[..., Json], state: Mapping[str, Any], data: Json) -> Json:
            self._check_parts(state, data)
            return original(state, data)

        @replace(stepfunctions, "_apply_jsonata_output", "state_def", "raw_input", "ctx", "result")
        def output(original: Callable[..., Json], state: Mapping[str, Any], *rest: Any, **more: Any) -> Json:  # noqa: ANN401
            self._check_parts(state, more.get("result"))
            return original(state, *rest, **more)

    def _check_parts(self, state: Mapping[str, Any], data: Json) -> None:
        if state.get("Type") in ("Map", "Parallel"):
            self._check(data, state["Type"])

    def _check(self, data: Json, subject: str) -> None:
        if size_of(data) > MOST_BYTES:
            raise self._too_long(subject)

    def _too_long(self, subject: str) -> Exception:
        cause = (
            f"The state/task '{subject}' returned a result with a size exceeding the maximum number of bytes service "
            "limit."
        )
        failure: Exception = self._failed("States.DataLimitExceeded", cause)
        return failure

    def _watch_parts(self) -> None:
        """Iterations of Maps and branches of Parallels, of whose states MiniStack writes no history."""
        for kind, name in (("Map", "_run_map_items"), ("Parallel", "_run_parallel_branches")):
            self._watch_whole(kind, name)

        @replace(stepfunctions, "_run_sub_machine", "states", "start_at", "input_data", "execution", "ctx")
        def run(_: Any, states: Any, start: str, data: Json, execution: Any, ctx: Any) -> Json:  # noqa: ANN401
            # A child execution of a Distributed Map is no iteration: it has a history of its own.
            if _within.get() != "Map" or "mapRunArn" in execution:
                return self._run(states, start, data, execution, ctx)
            index = ctx["Map"]["Item"]["Index"]
            self._add(execution, "MapIterationStarted", index=index)
            try:
                result = self._run(states, start, data, execution, ctx)
            except Exception:
                self._add(execution, "MapIterationFailed", index=index)
                raise
            self._add(execution, "MapIterationSucceeded", index=index)
            return result

    def _watch_whole(self, kind: str, name: str) -> None:
        @replace(stepfunctions, name, "state_def", "raw_input", "execution", "ctx")
        def run(original: Any, state: Any, data: Json, execution: Any, ctx: Any) -> Any:  # noqa: ANN401
            if isinstance(most := state.get("MaxConcurrency", 0), int) and not _is_distributed(state):
                state = {**state, "MaxConcurrency": min(most or MAP_CONCURRENCY, MAP_CONCURRENCY)}
            before = _within.set(kind)
            self._add(execution, f"{kind}StateStarted")
            try:
                end = original(state, data, execution, ctx)
            except Exception:
                self._add(execution, f"{kind}StateFailed")
                raise
            finally:
                _within.reset(before)
            self._add(execution, f"{kind}StateSucceeded")
            return end

    def _run(self, states: Mapping[str, Any], name: str | None, data: Json, execution: Any, ctx: Any) -> Json:  # noqa: ANN401
        """The output of states within another; an execution that is over begins no more of them."""
        current = copy.deepcopy(data)
        self._check(current, str(name))
        while name and execution["status"] == "RUNNING":
            if name not in states:
                raise self._failed("States.Runtime", f"State '{name}' not found")
            state, kind = states[name], states[name].get("Type")
            ctx["State"] = {"Name": name, "EnteredTime": self._now(), "RetryCount": 0}
            # Without their data: the whole execution's history would have it many times.
            self._add(execution, f"{kind}StateEntered", name=name)
            output, following = self._step(state, current, execution, ctx)
            if output is not current:
                self._check(output, name)
            self._add(execution, f"{kind}StateExited", name=name)
            current, name = output, following
        return current

    def _step(self, state: Mapping[str, Any], data: Json, execution: Any, ctx: Any) -> tuple[Json, str | None]:  # noqa: ANN401
        kind = state.get("Type")
        match kind:
            case "Succeed":
                chosen = _called("_apply_input_path")(state, data, ctx)
                return _called("_apply_output_path")(state, chosen, ctx), None
            case "Fail":
                raise self._failed(*_called("_fail_state_error")(state, data, ctx))
            case "Task" | "Parallel" | "Map":
                more: tuple[Any, ...] = (execution, ctx)
            case "Pass" | "Choice" | "Wait":
                more = (ctx,)
            case _:
                raise self._failed("States.Runtime", f"Unknown state type: {kind}")
        output, following = _called(f"_execute_{kind.lower()}")(state, data, *more)
        return output, following


def check_name(name: object) -> None:
    """Let pass the name of a machine, an execution or an activity.

    Raises:
        ServiceFault: it is too long, or has characters that names may not have.
    """
    _check_length("name", str(name), NAME_LENGTH, least=1)
    if any(character in _NOT_IN_NAMES or _is_control(ord(character)) for character in str(name)):
        raise ServiceFault("InvalidName", f"Invalid Name: '{name}'")


def check_definition(definition: str) -> None:
    """Let pass a definition that is not too long, has names of states that are not, and waits that are not.

    Raises:
        ServiceFault: one of them is.
    """
    _check_length("definition", definition, DEFINITION_BYTES, least=1)
    try:
        document = json.loads(definition)
    except ValueError as error:
        raise _invalid(f"INVALID_JSON_DESCRIPTION: {error}") from None
    for name, state in _states(document):
        if len(name) > NAME_LENGTH:
            raise _invalid(f"SCHEMA_VALIDATION_FAILED: State name '{name}' exceeds {NAME_LENGTH} characters")
        seconds = state.get("Seconds", 0)
        if state.get("Type") == "Wait" and isinstance(seconds, int) and not 0 <= seconds <= LONGEST_WAIT:
            limits = f"Seconds must be between 0 and {LONGEST_WAIT}"
            raise _invalid(f"SCHEMA_VALIDATION_FAILED: {limits} at /States/{name}/Seconds")


def resource_name(resource: str) -> str:
    """What errors call a task: its service if it is an integration, else the ARN of its function."""
    service = resource.partition(":states:::")[2]
    return service.rpartition(":")[0] if service else resource


def _called(name: str) -> Any:  # noqa: ANN401
    """A function of MiniStack as it is now, when others may have taken hold of it."""
    return require(stepfunctions, name)


def _check_start(data: Mapping[str, Any]) -> None:
    if "name" in data:
        check_name(data["name"])
    _check_json(data.get("input", "{}"), "input")


def _check_json(text: str, field: str) -> None:
    _check_length(field, text, MOST_BYTES)
    try:
        json.loads(text)
    except ValueError as error:
        if field == "output":
            raise ServiceFault("InvalidOutput", f"Invalid Output: '{error}'") from None
        raise ServiceFault("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from None


def _check_failure(data: Mapping[str, Any]) -> None:
    _check_length("error", data.get("error") or "", 256)
    _check_length("cause", data.get("cause") or "", 32_768)


def _check_machine(data: Mapping[str, Any]) -> None:
    if "name" in data:
        check_name(data["name"])
    if "definition" in data:
        check_definition(data["definition"])


def _check_length(field: str, text: str, most: int, *, least: int = 0) -> None:
    # A name has characters, data has bytes.
    length = len(text) if field == "name" else len(text.encode("utf-8", "surrogatepass"))
    if not least <= length <= most:
        rule = f"greater than or equal to {least}" if length < least else f"less than or equal to {most}"
        raise ServiceFault(
            "ValidationException",
            f"1 validation error detected: Value at '{field}' failed to satisfy constraint: "
            f"Member must have length {rule}",
        )


def _is_control(code: int) -> bool:
    return (
        code <= 0x1F
        or 0x7F <= code <= 0x9F
        or 0xD800 <= code <= 0xDFFF
        or code in (0xFFFE, 0xFFFF, 0x10FFFF)
        or chr(code).isspace()
    )


def _invalid(problem: str) -> ServiceFault:
    return ServiceFault("InvalidDefinition", f"Invalid State Machine Definition: '{problem}'")


def _states(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state by name, those within others too."""
    for name, state in (machine.get("States") or {}).items():
        yield name, state
        for part in (state.get("Iterator"), state.get("ItemProcessor"), *(state.get("Branches") or ())):
            yield from _states(part or {})


def _is_distributed(state: Mapping[str, Any]) -> bool:
    config = (state.get("ItemProcessor") or {}).get("ProcessorConfig") or {}
    return bool(config.get("Mode") == "DISTRIBUTED")


def _subject(details: Mapping[str, Any]) -> str:
    return resource_name(details["resource"]) if "resource" in details else str(details.get("name"))


def size_of(value: Json) -> int:
    """Bytes of UTF-8 of a value as JSON without spaces."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))
