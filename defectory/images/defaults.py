"""Defaults of a run on this machine; nothing heavy is imported, so that a command's help shows them at once."""

from __future__ import annotations

import os

MODEL_IDS = {
    "image_model_id": "stability.sd3-5-large-v1:0",
    "inpaint_model_id": "us.stability.stable-image-inpaint-v1:0",
}
"""The image models that are called where no other is named, by the deployment's settings that name them."""

BUDGET = 5.0
"""US dollars that image models may cost in one run."""

WORKERS = min(4, os.cpu_count() or 1)
"""Pictures made at a time: more than a few only wait for each other's memory."""

VALIDATION_SHARE = 0.2
"""Of the real images, for a form that says what to validate on."""

TRIALS = 3
"""Seeds that the gate tries."""

DRAWN_KINDS = ("scratch", "crack", "dent", "oil", "stain", "contamination", "missing_component")
"""Kinds of defects that can be drawn without an example."""
