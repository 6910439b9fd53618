"""Entry point of a training job in one of SageMaker's containers: labelled images in, a hosted detector out.

    SM_CHANNEL_TRAIN    scenes, a YOLO folder or a COCO file with its images
    SM_CHANNEL_...      more of them, such as photos beside scenes: every channel is learned from
    SM_MODEL_DIR        gets the detector and the code that serves it
    SM_HPS              hyperparameters; "options" are the fields of RidgeOptions

It needs no network and no accelerator: beside it lie the package ``defectory`` and in AWS the libraries.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / name) for name in ("packages", "training-packages", ".")]

from defectory.detection.detectors.ridge.training import RidgeOptions  # noqa: E402
from defectory.detection.detectors.training import train_detector  # noqa: E402
from defectory.inspection.hosting import JobFolders, parse_options, run_job, write_hosted  # noqa: E402


def work(folders: JobFolders) -> None:
    options = parse_options(os.environ, RidgeOptions)
    others = sorted(folders.channels.keys() - {"train"})
    detector = train_detector([folders.channel(name) for name in ("train", *others)], options)
    write_hosted(detector.files(), SOURCE, folders.model)
    print(f"Trained detector {detector.card.version} of {', '.join(detector.card.names)}.")


if __name__ == "__main__":
    sys.exit(run_job(work))
