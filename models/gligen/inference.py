"""Entry point of GLIGEN's container for SageMaker's Batch Transform: layouts in, a line each, and pictures out.

``python inference.py`` serves the model in SM_MODEL_DIR, which ``fetch_weights.py`` packs: a pipeline of diffusers with
its safety checker.  Nothing is trained, nothing is fetched, and no pickle is read.  What a line asks for and what is
answered is in ``defectory.detection.generative.gligen``; this program is what needs torch.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE / "packages"), str(SOURCE)]
# Whatever is missing in the model is a fault of the model, and nothing to ask the internet for.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402
import torch  # noqa: E402
from diffusers import StableDiffusionGLIGENPipeline  # noqa: E402

from defectory.detection.generative.gligen import Grounding, TransformRequest  # noqa: E402
from defectory.detection.generative.weights import check_weights  # noqa: E402
from defectory.door.containers import run_server  # noqa: E402
from defectory.errors import InputError  # noqa: E402
from defectory.vision.arrays import Image  # noqa: E402

# Share of the steps in which boxes are kept to: all, because labels hang on them; fewer would only look better.
GROUNDED_STEPS = 1.0


@dataclass(frozen=True, slots=True)
class Gligen:
    """A pipeline of diffusers as a `GroundedModel`; one thread at a time may use it."""

    pipeline: Any

    @property
    def inpaints(self) -> bool:
        """Whether its network takes a picture and a mask beside the noise."""
        return bool(self.pipeline.unet.config.in_channels == 9)

    @property
    def side(self) -> int:
        """What its network was trained on; pictures to paint into are cut to another size by the pipeline."""
        if self.inpaints:
            return int(self.pipeline.vae.config.sample_size)
        return int(self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor)

    def paint(self, grounding: Grounding, request: TransformRequest, background: Image | None) -> Image | None:
        """A picture, or None where the safety checker kept it back; see `GroundedModel`."""
        # Inpainting draws some of its noise from the one generator of the process, so that one is seeded.
        torch.manual_seed(request.layout.seed)
        width, height = grounding.frame.sent
        painting = {} if background is None else {"gligen_inpaint_image": PIL.Image.fromarray(background)}
        result = self.pipeline(
            prompt=grounding.prompt,
            width=width,
            height=height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            # Without an object there is nothing to keep to, but the pipeline wants a box.
            gligen_scheduled_sampling_beta=GROUNDED_STEPS if grounding.boxes else 0.0,
            gligen_phrases=[self._fit(phrase) for phrase in grounding.phrases] or [""],
            gligen_boxes=[list(box) for box in grounding.boxes] or [[0.0, 0.0, 0.0, 0.0]],
            output_type="np",
            **painting,
        )
        if any(result.nsfw_content_detected or ()):
            return None
        picture = result.images[0]
        if not np.isfinite(picture).all():
            raise InputError("picture", "finite", fix="Half precision may have overflowed: try fewer objects.")
        return np.asarray(np.rint(picture * 255), np.uint8)

    def _fit(self, phrase: str) -> str:
        """As much of a phrase as the text encoder takes: the pipeline would not cut it, and fail."""
        tokenizer, most = self.pipeline.tokenizer, self.pipeline.text_encoder.config.max_position_embeddings
        if len(tokenizer(phrase).input_ids) <= most:
            return phrase
        tokens = tokenizer(phrase, truncation=True, max_length=most).input_ids
        return str(tokenizer.decode(tokens, skip_special_tokens=True))


def model_fn(model_dir: str) -> Gligen:
    """The pipeline that was unpacked to ``model_dir``.

    Raises:
        InputError: a file of it is missing, or not as it was packed.
    """
    check_weights(Path(model_dir))
    has_gpu = torch.cuda.is_available()
    pipeline = StableDiffusionGLIGENPipeline.from_pretrained(
        model_dir, dtype=torch.float16 if has_gpu else torch.float32, local_files_only=True, use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return Gligen(pipeline.to("cuda" if has_gpu else "cpu"))


def main() -> int:
    # SageMaker's toolkit brings a server of its own.
    from defectory.detection.generative.serving import TransformServer

    return run_server(TransformServer, model_fn)


if __name__ == "__main__":
    sys.exit(main())
