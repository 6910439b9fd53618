"""Evaluation files as Amazon Lookout for Vision wrote them, for tools that read those."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from defectory.datasets.manifests import LABEL_ATTRIBUTE, manifest_line
from defectory.datasets.records import Dataset, ImageRecord
from defectory.inspection.evaluation.results import Evaluation, ImageResult
from defectory.metrics.estimates import Estimate
from defectory.writing import write_whole, writing_to

EVALUATION_RESULT = "EvaluationResult.json"
EVALUATION_MANIFEST = "EvaluationManifest.json"

RESULT_VERSION = "1.0"
JOB = "defectory/evaluation"
DETECTED = f"{LABEL_ATTRIBUTE}-detected"


def write_lookout_results(
    evaluation: Evaluation,
    tested: Iterable[tuple[ImageRecord, ImageResult]],
    dataset: Dataset,
    folder: Path,
    *,
    project: str,
    model_arn: str,
) -> tuple[Path, Path]:
    """Write ``EvaluationResult.json`` and ``EvaluationManifest.json`` (JSON lines) into ``folder``.

    ``Confidence`` is the certainty of the predicted class, as it was there; positive is anomaly.
    """
    result, manifest = folder / EVALUATION_RESULT, folder / EVALUATION_MANIFEST
    lines = [
        _ground_truth(record, dataset, evaluation.created) | _detected(image, evaluation, project, model_arn)
        for record, image in tested
    ]
    with writing_to(folder):
        write_whole(result, f"{json.dumps(_result(evaluation, model_arn), indent=1)}\n".encode())
        write_whole(manifest, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode())
    return result, manifest


def _result(evaluation: Evaluation, model_arn: str) -> dict[str, Any]:
    metrics, pixels = evaluation.metrics, evaluation.pixels
    figures: dict[str, Any] = {
        "ROCAUC": _value(metrics.auroc),
        "AveragePrecision": _value(metrics.average_precision),
        "Precision": _value(metrics.precision),
        "Recall": _value(metrics.recall),
        "F1Score": _value(metrics.f1),
    }
    if pixels:
        figures["PixelAnomalyClassMetrics"] = [
            {
                "Precision": pixel_class.precision,
                "Recall": pixel_class.recall,
                "F1Score": pixel_class.f1,
                "AIOU": pixel_class.iou,
                "ClassName": pixel_class.name,
            }
            for pixel_class in pixels.classes
        ]
    return {
        "Version": RESULT_VERSION,
        "EvaluationDetails": {
            "ModelArn": model_arn,
            "EvaluationEndTimestamp": _timestamp(evaluation.created),
            "NumberOfTrainingImages": evaluation.training_images,
            "NumberOfTestingImages": len(evaluation.images),
        },
        "AggregatedEvaluationResults": {"Metrics": figures},
    }


def _ground_truth(record: ImageRecord, dataset: Dataset, created: datetime) -> dict[str, Any]:
    if record.mask is not None and not record.colour_map:
        # Such masks are bright on black, which a reader of manifests has to be told.
        name = record.classes[0] if len(record.classes) == 1 else "anomaly"
        record = replace(record, colour_map={"BACKGROUND": "#000000", name: "#ffffff"})
    mask = dataset.name(record.mask) if record.mask else None
    line: dict[str, Any] = json.loads(
        manifest_line(record, record.source_ref or dataset.name(record.path), mask, created=created)
    )
    return line


def _detected(image: ImageResult, evaluation: Evaluation, project: str, model_arn: str) -> dict[str, Any]:
    anomalous = image.verdict == "FAIL"
    return {
        DETECTED: int(anomalous),
        DETECTED + "-metadata": {
            "class-name": "anomaly" if anomalous else "normal",
            "confidence": image.confidence,
            "type": "groundtruth/image-classification",
            "human-annotated": "no",
            "creation-date": _timestamp(evaluation.created),
            "job-name": JOB,
            "model-arn": model_arn,
            "project-name": project,
            "model-version": evaluation.model_version,
        },
    }


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
