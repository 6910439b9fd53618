"""Entry point of a training job in one of SageMaker's containers: photos in, a model that can be hosted out.

    SM_CHANNEL_TRAIN    a dataset: normal/ and anomaly/, a manifest, a table... all that `defectory datasets` reads
    SM_MODEL_DIR        gets the model and the code that serves it
    SM_HPS              hyperparameters; "options" are the fields of TrainingOptions

It needs no network: beside it lie the package ``defectory``, the backbone, and in AWS the libraries.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / name) for name in ("packages", "training-packages", ".")]

from defectory.datasets.sources import load_dataset  # noqa: E402
from defectory.inspection.hosting import BACKBONE, JobFolders, parse_options, run_job, write_hosted  # noqa: E402
from defectory.inspection.training import TrainingOptions, train_dataset  # noqa: E402


def work(folders: JobFolders) -> None:
    options = parse_options(os.environ, TrainingOptions)
    if (SOURCE / BACKBONE).is_file():
        options = options.model_copy(update={"backbone": SOURCE / BACKBONE})
    dataset = load_dataset(folders.channel("train"))
    model = train_dataset(dataset, options=options)
    write_hosted(model.files(), SOURCE, folders.model)
    counts = f"{len(dataset.normal)} good and {len(dataset.anomalous)} defective images"
    print(f"Trained model {model.card.version} on {counts}.")


if __name__ == "__main__":
    sys.exit(run_job(work))
