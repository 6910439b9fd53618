"""A model of these tests: it answers what it is asked with what it was trained to say."""

import json
import os
import time
from pathlib import Path


class Refusal(Exception):
    """What an entry point says of a request that it cannot answer, as the toolkit's own errors do."""

    def __init__(self, status_code, message):
        super().__init__(message)
        self.status_code = status_code
        self.message = message


def model_fn(model_dir):
    model = json.loads((Path(model_dir) / "model.json").read_text())
    if model.get("broken"):
        raise ValueError("this model cannot be loaded")
    while "sign" in model and not Path(model["sign"]).exists():
        time.sleep(0.01)
    print("loaded", model["greeting"])
    return model


def input_fn(body, content_type):
    if content_type == "image/png" and not body.startswith(b"\x89PNG"):
        raise Refusal(400, json.dumps({"error": {"code": "BadImage", "message": "not a PNG"}}))
    return body, content_type


def predict_fn(data, model):
    body, content_type = data
    if body == b"crash":
        os._exit(3)
    if body.startswith(b"crash unless "):
        once = Path(body.decode().removeprefix("crash unless "))
        if not once.exists():
            once.touch()
            os._exit(3)
    if body == b"raise":
        raise RuntimeError("no idea")
    if body == b"sleep":
        time.sleep(60)
    if body.startswith(b"touch "):
        began, _, sign = body.decode().removeprefix("touch ").partition(", wait for ")
        Path(began).touch()
        while not Path(sign).exists():
            time.sleep(0.01)
    return {
        "greeting": model["greeting"],
        "bytes": len(body),
        "type": content_type,
        "pid": os.getpid(),
        "environment": {name: os.environ[name] for name in ("SM_MODEL_DIR", "GREETER") if name in os.environ},
    }


def output_fn(prediction, accept, context):
    if accept == "text/plain":
        return prediction["greeting"], "text/plain"
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "greeted")
    return json.dumps(prediction)
