"""The metrics of a deployment: their names, units and dimensions, for those who write them and for the dashboards.

All are in one namespace and have the dimension ``service``, the deployment's name, besides their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMESPACE = "Defectory"
DEPLOYMENT_DIMENSION = "service"
DEPLOYMENT_VARIABLE = "DEPLOYMENT"
"""The environment variable with the deployment's name, in functions and builds."""

Unit = Literal["Count", "Milliseconds", "None"]


@dataclass(frozen=True, slots=True)
class Metric:
    """``meaning`` is what it measures; ``dimensions`` are those that every value has besides the deployment."""

    name: str
    meaning: str
    unit: Unit = "Count"
    dimensions: tuple[str, ...] = ()


INSPECTIONS = Metric("Inspections", "uploads that became a row, by what they ended as", dimensions=("outcome",))
INSPECTION_SCORE = Metric("InspectionScore", "the model's score of an inspected image", unit="None")
INSPECTION_TIME = Metric("InspectionTime", "from an upload to its row", unit="Milliseconds")
ALERTS_SENT = Metric("AlertsSent", "mails about single parts")
ALERTS_SUPPRESSED = Metric("AlertsSuppressed", "mails over the limit of the hour, left for the digest")
DIGEST_INSPECTIONS = Metric("DigestInspections", "inspections that a digest told of")
REVIEWS_WAITING = Metric("ReviewsWaiting", "parts of the last week with REVIEW and no person's word")
CONFIRMATIONS = Metric("Confirmations", "words of people on parts")
ESCAPES = Metric("Escapes", "parts that passed and that people call defective")
OVERKILLS = Metric("Overkills", "parts that failed and that people call good")
TRAINING_RUNS = Metric("TrainingRuns", "ACCEPTED or REJECTED by the gate, then IN_SERVICE", dimensions=("outcome",))
DETECTOR_TRAINING_RUNS = Metric("DetectorTrainingRuns", "as TrainingRuns, of detectors", dimensions=("outcome",))

SAFETY_IMAGES = Metric("SafetyImages", "cameras' images, by what they ended as", dimensions=("outcome",))
SAFETY_TIME = Metric("SafetyTime", "from an upload to its row", unit="Milliseconds")
SAFETY_ALERTS = Metric("SafetyAlerts", "broken rules that people are told of")

REQUESTS = Metric("Requests", "requests for sensor data, ACCEPTED or REJECTED", dimensions=("outcome",))
MACHINES = Metric("Machines", "machines of closed requests, PUBLISHED or FAILED", dimensions=("outcome",))

PICTURES = Metric("Pictures", "pictures of defects, by what came of them", dimensions=("outcome",))
SCENES = Metric("Scenes", "layouts of scenes, by what became of them", dimensions=("outcome",))
IMAGE_MODEL_COST = Metric("ImageModelCost", "what image models cost, in the currency of the price list", unit="None")

_TOKENS = ("model", "tier")
INPUT_TOKENS = Metric("InputTokens", "tokens that a model read", dimensions=_TOKENS)
OUTPUT_TOKENS = Metric("OutputTokens", "tokens that a model wrote", dimensions=_TOKENS)
CACHE_READ_TOKENS = Metric("CacheReadTokens", "tokens that a model read from its cache", dimensions=_TOKENS)
CACHE_WRITE_TOKENS = Metric("CacheWriteTokens", "tokens that a model wrote into its cache", dimensions=_TOKENS)

TOKENS = (INPUT_TOKENS, OUTPUT_TOKENS, CACHE_READ_TOKENS, CACHE_WRITE_TOKENS)
ALL: tuple[Metric, ...] = (
    *(INSPECTIONS, INSPECTION_SCORE, INSPECTION_TIME, ALERTS_SENT, ALERTS_SUPPRESSED, DIGEST_INSPECTIONS),
    *(REVIEWS_WAITING, CONFIRMATIONS, ESCAPES, OVERKILLS, TRAINING_RUNS),
    *(SAFETY_IMAGES, SAFETY_TIME, SAFETY_ALERTS, DETECTOR_TRAINING_RUNS),
    *(REQUESTS, MACHINES, PICTURES, SCENES, IMAGE_MODEL_COST, *TOKENS),
)
"""Every metric there is."""
