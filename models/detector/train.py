"""Entry point of a training job in one of SageMaker's containers: labelled images in, a hosted detector out.

    SM_CHANNEL_TRAIN      scenes, a YOLO folder or a COCO file with its images
    SM_CHANNEL_WEIGHTS    config.json and model.safetensors of weights that dfine or rfdetr start from, if there are any
    SM_CHANNEL_...        more labelled images, such as photos beside scenes: every other channel is learned from
    SM_MODEL_DIR          gets the detector and the code that serves it
    SM_CHECKPOINT_DIR     checkpoints of dfine and rfdetr; /opt/ml/checkpoints, which SageMaker copies to S3 and back
    SM_HPS                hyperparameters: "trainer" is ridge, dfine or rfdetr, "options" the fields of RidgeOptions
                          or DetrOptions

It needs no network: beside it lie the package ``defectory`` and in AWS the libraries.  dfine and rfdetr need a
container that has torch; ended by SIGTERM, as on spot capacity, they go on from their checkpoint when started again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / name) for name in ("packages", "training-packages", "torch-packages", ".")]

from defectory.detection.detectors.training import OPTIONS, TRAINERS, train_detector  # noqa: E402
from defectory.inspection.hosting import (  # noqa: E402
    JobFolders,
    parse_choice,
    parse_options,
    run_job,
    write_hosted,
)
from defectory.progress import Progress  # noqa: E402

WEIGHTS = "weights"


def show(progress: Progress) -> None:
    """A line for each hundredth, which the job's log has."""
    if progress.done * 100 // progress.total > (progress.done - 1) * 100 // progress.total:
        print(f"{progress.stage}: {progress.done} of {progress.total} {progress.item}".rstrip(), flush=True)


def work(folders: JobFolders) -> None:
    trainer = parse_choice(os.environ, "trainer", TRAINERS)
    options = parse_options(os.environ, OPTIONS[trainer])
    others = sorted(folders.channels.keys() - {"train", WEIGHTS})
    detector = train_detector(
        [folders.channel(name) for name in ("train", *others)],
        options,
        trainer=trainer,
        weights=folders.channel(WEIGHTS) if WEIGHTS in folders.channels else None,
        checkpoints=None if trainer == "ridge" else folders.checkpoints,
        on_progress=show,
    )
    write_hosted(detector.files(), SOURCE, folders.model)
    print(f"Trained detector {detector.card.version} of {', '.join(detector.card.names)}.")


if __name__ == "__main__":
    sys.exit(run_job(work))
