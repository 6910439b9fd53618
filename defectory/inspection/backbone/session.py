"""Open an ONNX model that comes from elsewhere: on one thread, from its own bytes alone."""

from __future__ import annotations

import onnxruntime

from defectory.errors import InputError, shorten
from defectory.inspection.backbone.external_data import has_external_data


class BackboneError(InputError):
    """An ONNX file cannot serve as a backbone, or as a model at all."""

    code = "BadBackbone"


def open_session(content: bytes, *, field: str = "backbone") -> onnxruntime.InferenceSession:
    """A session of a serialised ONNX model, on one thread of the CPU; ``field`` is what errors call it.

    Raises:
        BackboneError: it does not load, or keeps its weights in other files.
    """
    options = onnxruntime.SessionOptions()
    # Two threads were measured to be slower than one, and the order of sums stays the same everywhere.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The other format that it knows has a way of its own to name files.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        if has_external_data(content):
            fix = "Save it with its weights inside: onnx.save(onnx.load(path), path, save_as_external_data=False)."
            raise BackboneError(field, "an ONNX model with its weights inside, not in other files", fix=fix)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except BackboneError:
        raise
    except Exception as error:  # onnxruntime raises a class of its own for each kind of failure
        raise BackboneError(field, f"an ONNX model that loads ({shorten(str(error))})") from None
