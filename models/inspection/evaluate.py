"""Entry point of the job that compares a new model with the one in service, both on the frozen test set.

SM_CHANNEL_CANDIDATE    the new model's model.tar.gz
SM_CHANNEL_CURRENT      that of the model in service; left out while there is none
SM_CHANNEL_TEST         the test set
SM_CHANNEL_TRAIN        what the new model was trained on: none of it may be in the test set
SM_MODEL_DIR            gets evaluation.json, a ModelComparison
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / name) for name in ("packages", "training-packages", ".")]

from defectory.datasets.records import Dataset  # noqa: E402
from defectory.datasets.sources import load_dataset  # noqa: E402
from defectory.errors import InputError  # noqa: E402
from defectory.inspection.gate import EVALUATION_FILE, Figures, ModelComparison  # noqa: E402
from defectory.inspection.hosting import JobFolders, run_job  # noqa: E402
from defectory.inspection.model import Model, load_model  # noqa: E402
from defectory.metrics.ranking import auroc  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402


def work(folders: JobFolders) -> None:
    test = load_dataset(folders.channel("test"))
    labelled = [record for record in test.records if record.label is not None]
    if synthetic := [record for record in labelled if record.synthetic]:
        raise InputError("test set", "of real images only", test.name(synthetic[0].path), "Take synthetic ones out.")
    candidate = read_model(folders.channel("candidate"))
    comparison = ModelComparison(
        candidate=figures(candidate, test),
        current=figures(read_model(folders.channel("current")), test) if "current" in folders.channels else None,
        test_digest=test.version,
        trained_on_test=shared_images(load_dataset(folders.channel("train")), test),
        changes=candidate.card.dataset_changes,
    )
    folders.model.mkdir(parents=True, exist_ok=True)
    (folders.model / EVALUATION_FILE).write_text(comparison.model_dump_json(indent=2))
    print(f"Candidate: {comparison.candidate}")
    if comparison.current:
        print(f"Current:   {comparison.current}")


def read_model(channel: Path) -> Model:
    """The model whose archive is the one file in ``channel``."""
    [archive] = [path for path in channel.iterdir() if path.is_file()]
    return load_model(archive)


def figures(model: Model, test: Dataset) -> Figures:
    """What ``model`` does on the labelled images of ``test``."""
    good = [model.inspect(load_image(record.path)) for record in test.normal]
    bad = [model.inspect(load_image(record.path)) for record in test.anomalous]
    ranking = auroc([inspection.score for inspection in good], [inspection.score for inspection in bad])
    return Figures(
        model_version=model.card.version,
        normal=len(good),
        anomalous=len(bad),
        auroc=None if ranking is None else ranking.value,
        escapes=sum(inspection.verdict == "PASS" for inspection in bad),
        overkill=sum(inspection.verdict == "FAIL" for inspection in good),
        review=sum(inspection.verdict == "REVIEW" for inspection in (*good, *bad)),
    )


def shared_images(trained: Dataset, test: Dataset) -> tuple[str, ...]:
    """Images of the test set that the training set has as well, by content."""
    digests = {trained.digest(record.path) for record in trained.records}
    return tuple(test.name(record.path) for record in test.records if test.digest(record.path) in digests)


if __name__ == "__main__":
    sys.exit(run_job(work))
