"""Fetch GLIGEN's weights from Hugging Face and pack them as the model of a Batch Transform; run on your side, once.

    python models/gligen/fetch_weights.py --out model.tar.gz
    python models/gligen/fetch_weights.py --inpainting --out model.tar.gz

It needs what requirements.txt has, and no GPU.  The weights are under the licence creativeml-openrail-m, which binds
whoever uses them and what is made with them: read it at the repository before you go on.  What is downloaded is held
against the SHA-256 that the hub publishes of each large file; what is packed is half precision in safetensors, with the
SHA-256 of each file in ``weights.json``, which the container looks at before it loads them.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
sys.path[:0] = [str(SOURCE.parent.parent)]

import torch  # noqa: E402
from diffusers import StableDiffusionGLIGENPipeline  # noqa: E402
from huggingface_hub import HfApi, snapshot_download  # noqa: E402

from defectory.detection.generative.weights import pack_weights  # noqa: E402
from defectory.errors import DefectoryError, InputError  # noqa: E402

LICENCE = "creativeml-openrail-m"
GENERATION = "masterful/gligen-1-4-generation-text-box"
INPAINTING = "masterful/gligen-1-4-inpainting-text-box"


def download(repository: str, revision: str, folder: Path) -> str:
    """Bring a repository to ``folder``; returns the commit.

    Raises:
        InputError: a file is not what the hub says it is.
    """
    information = HfApi().model_info(repository, revision=revision, files_metadata=True)
    commit = str(information.sha)
    snapshot_download(repository, revision=commit, local_dir=folder, ignore_patterns=["*.ckpt", "*.msgpack", "*.onnx"])
    for sibling in information.siblings or ():
        file = folder / sibling.rfilename
        if sibling.lfs is None or not file.exists():
            continue
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sibling.lfs.sha256:
                raise InputError("weights", f"what the hub publishes: {sibling.rfilename} differs", fix="Try again.")
    return commit


def convert(downloaded: Path, folder: Path) -> None:
    """Save a downloaded pipeline to ``folder`` in half precision and safetensors, its safety checker included."""
    has_half = any(".fp16." in file.name for file in downloaded.rglob("*"))
    pipeline = StableDiffusionGLIGENPipeline.from_pretrained(
        downloaded, dtype=torch.float16, variant="fp16" if has_half else None, local_files_only=True
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the archive, such as model.tar.gz")
    parser.add_argument("--inpainting", action="store_true", help="weights that paint into pictures")
    parser.add_argument("--revision", default="main", help="a commit of the repository; the newest by default")
    parser.add_argument("--downloaded", type=Path, help="a folder that has the repository already; nothing is fetched")
    arguments = parser.parse_args()
    repository = INPAINTING if arguments.inpainting else GENERATION
    try:
        with tempfile.TemporaryDirectory() as name:
            downloaded, saved = arguments.downloaded or Path(name) / "downloaded", Path(name) / "saved"
            revision = arguments.revision
            if arguments.downloaded is None:
                revision = download(repository, revision, downloaded)
            convert(downloaded, saved)
            pack_weights(saved, arguments.out, repository=repository, revision=revision, licence=LICENCE)
    except DefectoryError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    with arguments.out.open("rb") as stream:
        print(f"{arguments.out}: {repository} at {revision}, {LICENCE}")
        print(f"SHA-256 {hashlib.file_digest(stream, 'sha256').hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
