"""Endpoints: a number of instances on this machine, started when they are needed, and the invocations of them."""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ministack.services import cloudwatch

from defectory.local.server.authorization.permissions import Permissions
from defectory.local.server.events import Events
from defectory.local.server.hooks import require
from defectory.local.server.logs import LogStream
from defectory.local.server.objects import Objects
from defectory.local.server.sagemaker.container import ATTRIBUTES
from defectory.local.server.sagemaker.instances import Instance, NotServing, Reply, TimedOut, launch
from defectory.local.server.sagemaker.registry import ENDPOINT, ENDPOINT_CONFIG, MODEL, Record, Registry
from defectory.local.server.sagemaker.roles import SERVICE, require_image
from defectory.local.server.sagemaker.volume import ContentError, Volume
from defectory.local.server.services import Response, Scope, ServiceFault, in_thread
from defectory.local.server.settings import Settings

log = logging.getLogger(__name__)

# Each is a process with a model; more at once only take each other's memory.
INSTANCES = max(4, 2 * (os.cpu_count() or 1))
# How long a request waits for room among them.
ROOM_SECONDS = 60.0
# SageMaker allows an invocation this long, and its containers' servers no more than they are told.
INVOCATION_SECONDS = 60.0
SERVER_TIMEOUT = "SAGEMAKER_MODEL_SERVER_TIMEOUT"
# SageMaker's limits of a request's body, by kind of endpoint.
PAYLOAD_LIMIT = 25 * 1024 * 1024
SERVERLESS_PAYLOAD_LIMIT = 4 * 1024 * 1024
# A serverless endpoint's process ends when nobody has asked for so long; the next request starts it cold.
IDLE_SECONDS = 300.0
LOOK_SECONDS = 5.0
# The longest that an update waits for its alarms here; AWS waits as long as the deployment's policy says.
BAKING_SECONDS = 3.0
INTERRUPTED = "The local cloud was stopped while the endpoint was being created."
NAMESPACE = "AWS/SageMaker"
TIMED_OUT = (
    b"Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    b"each container in Amazon CloudWatch, resolve the issue, and try again."
)

Key = tuple[Scope, str, str, str]


@dataclass(slots=True)
class _Place:
    """Where an instance of one variant of an endpoint is, if it is started."""

    starting: threading.Lock = field(default_factory=threading.Lock)
    instance: Instance | None = None
    serverless: bool = False
    under_way: int = 0
    used: float = 0.0
    gone: bool = False

    def take(self) -> Instance | None:
        """The instance, which is here no more; whoever takes it ends it."""
        instance, self.instance = self.instance, None
        return instance


class _NoRoom(Exception):
    """Every instance is at work."""


class Endpoints:
    """Creates, updates, deletes and invokes endpoints; the registry has what is known of them."""

    def __init__(
        self, settings: Settings, objects: Objects, registry: Registry, events: Events, permissions: Permissions
    ) -> None:
        self._settings = settings
        self._permissions = permissions
        self._objects = objects
        self._registry = registry
        self._events = events
        self._folder = settings.work / "endpoints"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._places: dict[Key, _Place] = {}
        self._changed = threading.Condition()
        self._started = 0
        self._closed = threading.Event()
        self._alarms = require(cloudwatch, "_alarms")
        self._record_metric = require(
            cloudwatch, "record_metric", "namespace", "metric_name", "value", "unit", "dimensions"
        )

    # ---- the life of the service

    def start(self) -> None:
        """Take over what was restored; processes start with the first request."""
        for scope, record in self._registry.everything(ENDPOINT):
            with scope.entered():
                if record["EndpointStatus"] == "Creating":
                    self._set(record["EndpointName"], {"EndpointStatus": "Failed", "FailureReason": INTERRUPTED})
                elif record["EndpointStatus"] == "Updating":
                    self._set(record["EndpointName"], {"EndpointStatus": "InService"})
        in_thread(self._end_idle, name="idle endpoints")

    def stop(self) -> None:
        self._closed.set()
        self._close(lambda _: True)

    def reset(self) -> None:
        """End every instance; of the server's thread, which has to be free for their logs, it takes no time."""
        in_thread(self._close, lambda _: True, name="end of all endpoints")

    # ---- operations

    def create(self, parameters: Mapping[str, Any]) -> Record:
        """Raises ``ServiceFault``: there is no such configuration, or such an endpoint already."""
        name = str(parameters["EndpointName"])
        config, variants = self._variants(parameters["EndpointConfigName"])
        members = {
            "EndpointConfigName": config,
            "EndpointStatus": "Creating",
            "LastDeploymentConfig": parameters.get("DeploymentConfig"),
            "Tags": parameters.get("Tags", []),
            "_variants": variants,
            "_generation": secrets.token_hex(4),
        }
        record = self._registry.add(
            ENDPOINT, name, {member: value for member, value in members.items() if value is not None}
        )
        self._emit(record)
        in_thread(self._create, name, record["_generation"], variants, name=f"endpoint {name}")
        return record

    def update(self, parameters: Mapping[str, Any]) -> Record:
        """Raises ``ServiceFault``: there is no such endpoint or configuration, or it cannot be updated now."""
        name = str(parameters["EndpointName"])
        record = self._registry.find(ENDPOINT, name)
        if record["EndpointStatus"] == "Failed":
            raise ServiceFault("ValidationException", f'Cannot update failed endpoint "{record["EndpointArn"]}".')
        if record["EndpointStatus"] != "InService":
            raise ServiceFault("ValidationException", f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        config, variants = self._variants(parameters["EndpointConfigName"])
        self._check_kind(record, variants)
        deployment = parameters.get("DeploymentConfig")
        if deployment is None and parameters.get("RetainDeploymentConfig"):
            deployment = record.get("LastDeploymentConfig")
        self._set(name, {"EndpointStatus": "Updating", "FailureReason": None, "LastDeploymentConfig": deployment})
        in_thread(self._update, record, config, variants, deployment or {}, name=f"endpoint {name}")
        return record

    def delete(self, name: str) -> None:
        """Raises ``ServiceFault``: there is no such endpoint, or it is being changed."""
        record = self._registry.find(ENDPOINT, name)
        if record["EndpointStatus"] in ("Creating", "Updating"):
            raise ServiceFault("ValidationException", f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        self._registry.remove(ENDPOINT, name)
        self._emit({**record, "EndpointStatus": "Deleting"})
        scope = Scope.current()
        in_thread(self._close, lambda key: key[:2] == (scope, record["EndpointName"]), name=f"end of endpoint {name}")

    def describe(self, record: Record) -> Record:
        """What DescribeEndpoint adds: the variants, as they are deployed."""
        summaries = [
            {
                "VariantName": variant["VariantName"],
                "DeployedImages": [
                    {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": record["CreationTime"]}
                    for image in [str(variant["_container"].get("Image", ""))]
                ],
                "CurrentWeight": variant.get("InitialVariantWeight", 1.0),
                "DesiredWeight": variant.get("InitialVariantWeight", 1.0),
                **(
                    {"CurrentServerlessConfig": variant["ServerlessConfig"]}
                    if "ServerlessConfig" in variant
                    else {
                        "CurrentInstanceCount": variant.get("InitialInstanceCount", 1),
                        "DesiredInstanceCount": variant.get("InitialInstanceCount", 1),
                    }
                ),
            }
            for variant in record["_variants"]
        ]
        return {**record, **({"ProductionVariants": summaries} if record["EndpointStatus"] != "Creating" else {})}

    def wait(self, name: str) -> Record:
        """Wait until an endpoint is neither being created nor updated; only from a thread."""
        while True:
            record = self._registry.find(ENDPOINT, name)
            if record["EndpointStatus"] in ("InService", "Failed") or self._closed.is_set():
                return record
            time.sleep(0.05)

    def invoke(self, name: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer InvokeEndpoint; only from a thread."""
        record = self._registry.get(ENDPOINT, name)
        if record is None or record["EndpointStatus"] in ("Creating", "Failed"):
            return _fault(400, "ValidationError", f"Endpoint {name} of account {Scope.current().account} not found.")
        variant = _choose(record["_variants"], headers.get("x-amzn-sagemaker-target-variant"))
        if variant is None:
            return _fault(
                400,
                "ValidationError",
                f"Variant {headers['x-amzn-sagemaker-target-variant']} not found for Request",
            )
        serverless = variant.get("ServerlessConfig")
        limit = SERVERLESS_PAYLOAD_LIMIT if serverless else PAYLOAD_LIMIT
        if len(body) > limit:
            return (
                413,
                {"Content-Type": "application/json"},
                json.dumps({"Message": f"HTTP content length exceeded {limit} bytes."}).encode(),
            )
        place = self._place(name, record["_generation"], variant)
        with self._changed:
            if serverless and place.under_way >= int(serverless["MaxConcurrency"]):
                return _fault(400, "ThrottlingException", "Rate exceeded")
            place.under_way += 1
        began = time.monotonic()
        try:
            reply = self._invoke(record, variant, place, headers, body)
        except _NoRoom:
            return _fault(503, "ServiceUnavailable", f"All {INSTANCES} instances of the local cloud are at work.")
        finally:
            with self._changed:
                place.under_way -= 1
                place.used = time.monotonic()
                self._changed.notify_all()
        self._measure(name, variant["VariantName"], reply.status, time.monotonic() - began)
        return _answer(name, variant["VariantName"], reply)

    # ---- invocations

    def _invoke(self, record: Record, variant: Record, place: _Place, headers: Mapping[str, str], body: bytes) -> Reply:
        """What the container answers; of status 0 where SageMaker speaks in its stead."""
        forwarded = {name: headers.get(name.lower()) for name in ("Content-Type", "Accept", ATTRIBUTES)}
        environment = variant["_container"].get("Environment") or {}
        seconds = min(INVOCATION_SECONDS, float(environment.get(SERVER_TIMEOUT) or INVOCATION_SECONDS))
        try:
            instance = self._ready(place, record["EndpointName"], variant)
            return instance.invoke(body, {name: value for name, value in forwarded.items() if value}, seconds)
        except (ContentError, ServiceFault) as error:
            return Reply(0, {}, f"Failed to download model data: {error}".encode())
        except TimedOut:
            self._end(place)
            return Reply(0, {}, TIMED_OUT)
        except NotServing:
            self._end(place)
            return Reply(502, {}, b"The container ended while it worked on the request.")

    def _ready(self, place: _Place, name: str, variant: Record) -> Instance:
        """The instance in its place, started if it is not."""
        with place.starting:
            if place.instance is not None and not place.instance.alive:
                self._end(place)
            with self._changed:
                if place.instance is not None:
                    return place.instance
            instance = self._launch(name, variant)
            with self._changed:
                if not place.gone:
                    place.instance = instance
                    # Who waits for room may have it, if nobody asks here.
                    self._changed.notify_all()
                    return instance
            # Deleted while it was starting.
            self._discard(instance)
            raise NotServing

    def _launch(self, name: str, variant: Record) -> Instance:
        self._make_room()
        try:
            stream = f"{variant['VariantName']}/{secrets.token_hex(8)}"
            group = f"/aws/sagemaker/Endpoints/{name}"
            session = self._permissions.session(str(variant["_role"]), name, SERVICE)
            require_image(str(variant["_container"]["Image"]), session, self._permissions)
            logs = LogStream(group, stream, discard=not self._permissions.may_log(session, group, stream))
            # Short: a socket's path, and what multiprocessing puts below TMPDIR is one, may have about 100 bytes.
            volume = Volume(self._folder / secrets.token_hex(4), self._objects, self._permissions.permit(session))
            return launch(variant["_container"], volume, self._settings.process_environment(*session.keys), logs)
        except BaseException:
            self._left()
            raise

    def _make_room(self) -> None:
        """Count one instance more, after ending the one that was idle longest if there are too many."""
        deadline = time.monotonic() + ROOM_SECONDS
        while True:
            with self._changed:
                if self._closed.is_set():
                    raise _NoRoom
                if self._started < INSTANCES:
                    self._started += 1
                    return
                idle = [place for place in self._places.values() if place.instance and not place.under_way]
                longest = min(idle, key=lambda place: place.used, default=None)
                instance = longest.take() if longest else None
                remaining = deadline - time.monotonic()
                if instance is None and (remaining <= 0 or not self._changed.wait(remaining)):
                    raise _NoRoom
            if instance:
                self._discard(instance)

    def _end(self, place: _Place) -> None:
        with self._changed:
            instance = place.take()
        if instance:
            self._discard(instance)

    def _discard(self, instance: Instance) -> None:
        instance.close()
        self._left()

    def _left(self) -> None:
        with self._changed:
            self._started -= 1
            self._changed.notify_all()

    def _place(self, name: str, generation: str, variant: Record) -> _Place:
        key = (Scope.current(), name, generation, str(variant["VariantName"]))
        with self._changed:
            return self._places.setdefault(key, _Place(serverless="ServerlessConfig" in variant, used=time.monotonic()))

    def _close(self, meant: Callable[[Key], bool]) -> None:
        with self._changed:
            places = [self._places.pop(key) for key in list(self._places) if meant(key)]
            for place in places:
                place.gone = True
            ending = [instance for place in places if (instance := place.take())]
        for instance in ending:
            self._discard(instance)

    def _end_idle(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            now = time.monotonic()
            with self._changed:
                idle = [
                    place
                    for place in self._places.values()
                    if place.serverless and not place.under_way and now - place.used > IDLE_SECONDS
                ]
                ending = [instance for place in idle if (instance := place.take())]
            for instance in ending:
                self._discard(instance)

    def _measure(self, name: str, variant: str, status: int, seconds: float) -> None:
        dimensions = {"EndpointName": name, "VariantName": variant}
        for metric, value, unit in (
            ("Invocations", 1, "Count"),
            ("Invocation4XXErrors", int(400 <= status < 500), "Count"),
            ("Invocation5XXErrors", int(status >= 500 or not status), "Count"),
            ("ModelLatency", seconds * 1e6, "Microseconds"),
        ):
            self._record_metric(NAMESPACE, metric, value, unit=unit, dimensions=dimensions)

    # ---- changes

    def _create(self, name: str, generation: str, variants: Sequence[Record]) -> None:
        reason = self._bring_up(name, generation, variants)
        if self._closed.is_set():
            return
        status = {"EndpointStatus": "Failed", "FailureReason": reason} if reason else {"EndpointStatus": "InService"}
        self._set(name, status)

    def _update(self, old: Record, config: str, variants: list[Record], deployment: Mapping[str, Any]) -> None:
        name, scope = old["EndpointName"], Scope.current()
        generation = secrets.token_hex(4)
        reason = self._bring_up(name, generation, variants)
        if self._closed.is_set():
            return
        if not reason:
            self._set(name, {"_variants": variants, "_generation": generation, "EndpointConfigName": config})
            reason = self._bake(deployment)
        ended = generation if reason else old["_generation"]
        back = {member: old[member] for member in ("_variants", "_generation", "EndpointConfigName")}
        self._set(name, {"EndpointStatus": "InService", "FailureReason": reason or None, **(back if reason else {})})
        self._drain(lambda key: key[:3] == (scope, name, ended))

    def _bring_up(self, name: str, generation: str, variants: Sequence[Record]) -> str:
        """Start an instance of each variant; why that cannot be, or nothing."""
        for variant in variants:
            place = self._place(name, generation, variant)
            reason = ""
            try:
                self._ready(place, name, variant)
            except (ContentError, ServiceFault) as error:
                reason = f"Failed to download model data for container primary: {error}"
            except NotServing:
                reason = (
                    f"The primary container for production variant {variant['VariantName']} did not pass the ping "
                    "health check. Please check CloudWatch logs for this endpoint."
                )
            except _NoRoom:
                reason = (
                    f"Unable to provision requested ML compute capacity: the local cloud has {INSTANCES} instances."
                )
            except Exception as error:
                # An endpoint that nobody hears of any more would hold up whoever waits for it.
                log.exception("Endpoint %s", name)
                reason = f"Internal error: {error}"
            if reason:
                self._close(lambda key: key[1:3] == (name, generation))
                return reason
        return ""

    def _bake(self, deployment: Mapping[str, Any]) -> str:
        """Watch the deployment's alarms for a while; why it has to be rolled back, or nothing."""
        names = [alarm["AlarmName"] for alarm in (deployment.get("AutoRollbackConfiguration") or {}).get("Alarms", [])]
        policy = deployment.get("BlueGreenUpdatePolicy") or {}
        wait = (policy.get("TrafficRoutingConfiguration") or {}).get("WaitIntervalInSeconds") or 0
        wait = max(wait, policy.get("TerminationWaitInSeconds") or 0)
        deadline = time.monotonic() + min(float(wait), BAKING_SECONDS)
        while names:
            ringing = [name for name in names if (self._alarms.get(name) or {}).get("StateValue") == "ALARM"]
            if ringing:
                return f"The deployment was rolled back, because of alarms: {', '.join(ringing)}"
            if self._closed.wait(0.1) or time.monotonic() > deadline:
                break
        return ""

    def _drain(self, meant: Callable[[Key], bool]) -> None:
        """End instances once no request is under way there any more, or at latest when none may be."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed.is_set()
                    or not any(place.under_way for key, place in self._places.items() if meant(key))
                ),
                INVOCATION_SECONDS,
            )
        self._close(meant)

    def _variants(self, config: str) -> tuple[str, list[Record]]:
        """A configuration's name and variants, each with its container and role: all may be deleted while it serves."""
        record = self._registry.find(ENDPOINT_CONFIG, config)
        return record["EndpointConfigName"], [
            {**variant, "_container": model["_container"], "_role": model["ExecutionRoleArn"]}
            for variant in record["ProductionVariants"]
            for model in [self._registry.find(MODEL, variant["ModelName"])]
        ]

    @staticmethod
    def _check_kind(record: Record, variants: list[Record]) -> None:
        """SageMaker makes instances of what is serverless, never the other way round.

        https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
        """
        instances = any("ServerlessConfig" not in variant for variant in record.get("_variants", ()))
        if instances and any("ServerlessConfig" in variant for variant in variants):
            raise ServiceFault(
                "ValidationException",
                f'Cannot update the real-time endpoint "{record["EndpointArn"]}" to a serverless one.',
            )

    def _set(self, name: str, changes: Mapping[str, Any]) -> None:
        record = self._registry.change(ENDPOINT, name, changes)
        if record is not None and "EndpointStatus" in changes:
            self._emit(record)

    def _emit(self, record: Record) -> None:
        status = {"InService": "IN_SERVICE"}.get(record["EndpointStatus"], record["EndpointStatus"].upper())
        detail = {
            "EndpointName": record["EndpointName"],
            "EndpointArn": record["EndpointArn"],
            "EndpointConfigName": record["EndpointConfigName"],
            "EndpointStatus": status,
            **({"FailureReason": record["FailureReason"]} if "FailureReason" in record else {}),
            "CreationTime": int(record["CreationTime"] * 1000),
            "LastModifiedTime": int(record["LastModifiedTime"] * 1000),
        }
        self._events.emit("aws.sagemaker", "SageMaker Endpoint State Change", record["EndpointArn"], detail)


def _choose(variants: Sequence[Record], name: str | None) -> Record | None:
    if name:
        return next((variant for variant in variants if variant["VariantName"] == name), None)
    weights = [float(variant.get("InitialVariantWeight", 1.0)) for variant in variants]
    return random.choices(variants, weights if any(weights) else None)[0]


def _answer(name: str, variant: str, reply: Reply) -> Response:
    if not 200 <= reply.status < 400:
        return _model_error(name, reply.status, reply.body.decode("utf-8", "replace"))
    headers = {
        # In lower case, or MiniStack takes JSON for the control plane's, and says so instead.
        "content-type": reply.headers.get("content-type", "application/json"),
        "x-Amzn-Invoked-Production-Variant": variant,
    }
    if ATTRIBUTES.lower() in reply.headers:
        headers[ATTRIBUTES] = reply.headers[ATTRIBUTES.lower()]
    return 200, headers, reply.body


def _model_error(name: str, status: int, message: str) -> Response:
    scope = Scope.current()
    group = f"/aws/sagemaker/Endpoints/{name}"
    kind = "client" if 400 <= status < 500 else "server"
    return _fault(
        424,
        "ModelError",
        f'Received {kind} error ({status}) from primary with message "{message[:1024]}". '
        f"See https://{scope.region}.console.aws.amazon.com/cloudwatch/home?region={scope.region}"
        f"#logEventViewer:group={group} in account {scope.account} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=message[:1024],
        LogStreamArn=scope.arn("logs", f"log-group:{group}"),
    )


def _fault(status: int, code: str, message: str, **members: object) -> Response:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return status, headers, json.dumps({"Message": message, **members}).encode()
