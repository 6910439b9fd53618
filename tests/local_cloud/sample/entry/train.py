"""A training of these tests: the model says what the channels held and what the hyperparameters asked for."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--greeting", default="")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--mode", default="")
    options = parser.parse_args()
    channel = Path(os.environ["SM_CHANNEL_TRAIN"])
    seen = {path.relative_to(channel).as_posix(): path.read_text() for path in channel.rglob("*") if path.is_file()}
    print("seen", sorted(seen))
    if options.mode == "raise":
        raise ValueError("the images are all equal")
    if options.mode == "failure":
        Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("InvalidInput: too few images")
        sys.exit(2)
    if options.mode == "sleep":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        (Path(os.environ["SM_MODEL_DIR"]) / "checkpoint").write_text("half")
        print("asleep", flush=True)
        time.sleep(60)
    model = {
        "greeting": options.greeting * options.repeat,
        "seen": seen,
        "hyperparameters": json.loads(os.environ["SM_HPS"]),
        "importable": {name: _importable(name) for name in ("numpy", "tests")},
        "environment": {name: os.environ.get(name) for name in ("SM_CHANNELS", "TRAINING_JOB_NAME", "LANGUAGE")},
    }
    (Path(os.environ["SM_MODEL_DIR"]) / "model.json").write_text(json.dumps(model))
    (Path(os.environ["SM_OUTPUT_DATA_DIR"]) / "notes.txt").write_text("well done")


def _importable(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
