"""Entry point of the job that compares a new detector with the one in service, both on the frozen test set.

SM_CHANNEL_CANDIDATE    the new detector's model.tar.gz
SM_CHANNEL_CURRENT      that of the detector in service; left out while there is none
SM_CHANNEL_TEST         the test set: scenes, a YOLO folder or a COCO file with its images
SM_CHANNEL_TRAIN        what the new detector was trained on: none of its images may be in the test set
SM_MODEL_DIR            gets evaluation.json, a DetectorComparison
SM_OUTPUT_DIR           gets data/candidate/ and data/current/: evaluation.json, report.html and pictures of each
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / name) for name in ("packages", "training-packages", ".")]

from defectory.detection.detectors.detector import Detector, load_detector  # noqa: E402
from defectory.detection.evaluation.evaluate import evaluate_detector  # noqa: E402
from defectory.detection.evaluation.report import write_report  # noqa: E402
from defectory.detection.gate import DetectorComparison, DetectorFigures  # noqa: E402
from defectory.detection.labelled import LabelledSet, open_labelled  # noqa: E402
from defectory.errors import InputError  # noqa: E402
from defectory.inspection.gate import EVALUATION_FILE  # noqa: E402
from defectory.inspection.hosting import JobFolders, run_job  # noqa: E402

# Channels that train.py does not learn from.
NOT_LEARNED = ("test", "candidate", "current")


def work(folders: JobFolders) -> None:
    test = open_labelled(folders.channel("test"))
    learned = [folders.channel(name) for name in folders.channels if name not in NOT_LEARNED]
    candidate = evaluate(folders, "candidate", test)
    comparison = DetectorComparison(
        candidate=candidate,
        current=evaluate(folders, "current", test) if "current" in folders.channels else None,
        origin=test.origin,
        test_digest=digest_of(test),
        trained_on_test=shared_images([open_labelled(folder) for folder in learned], test),
    )
    folders.model.mkdir(parents=True, exist_ok=True)
    (folders.model / EVALUATION_FILE).write_text(comparison.model_dump_json(indent=2))
    print(f"Candidate: {comparison.candidate}")
    if comparison.current:
        print(f"Current:   {comparison.current}")


def evaluate(folders: JobFolders, channel: str, test: LabelledSet) -> DetectorFigures:
    """What the detector in ``channel`` does on the test set, with its page."""
    detector, out = read_detector(folders.channel(channel)), folders.output / "data" / channel
    if channel == "current" and not set(detector.card.names) & set(test.classes):
        # One for other things altogether: nothing to compare with.
        return DetectorFigures(model_version=detector.card.version, images=0, objects=0, map50=None, map50_95=None)
    evaluation = evaluate_detector(detector, test, out)
    write_report(evaluation, out)
    for kind in evaluation.left_out:
        raise InputError("test set", "of images and labels that can all be used", f"{kind.kind}: {kind.example}")
    return DetectorFigures(
        model_version=evaluation.model_version,
        images=evaluation.images,
        objects=evaluation.objects,
        map50=evaluation.map50,
        map50_95=evaluation.map50_95,
        by_class=evaluation.by_class(),
        unknown_classes=evaluation.unknown_classes,
    )


def read_detector(channel: Path) -> Detector:
    """The detector whose archive is the one file in ``channel``."""
    [archive] = [path for path in channel.iterdir() if path.is_file()]
    return load_detector(archive)


def digest_of(test: LabelledSet) -> str:
    """16 hex digits that another set of images or labels would not have."""
    digest = hashlib.sha256()
    for image in sorted(test, key=lambda image: image.name):
        objects = sorted((item.label, item.box) for item in image.objects)
        digest.update(repr((image.name, content_digest(image.path), objects)).encode())
    return digest.hexdigest()[:16]


def shared_images(learned: list[LabelledSet], test: LabelledSet) -> tuple[str, ...]:
    """Images of the test set that were learned from as well, by content."""
    names = defaultdict(list)
    for image in test:
        names[content_digest(image.path)].append(image.name)
    sizes = {image.path.stat().st_size for image in test}
    # A training set may have tens of thousands: those of another size are not read.
    seen = {
        content_digest(image.path)
        for folder in learned
        for image in folder
        if image.path.is_file() and image.path.stat().st_size in sizes
    }
    return tuple(sorted(name for digest, same in names.items() if digest in seen for name in same))


def content_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(run_job(work))
