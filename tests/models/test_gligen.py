"""GLIGEN's container with a pipeline of random weights, as small as it may be: its ways, and diffusers' own traps."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: `make models` has it")
diffusers = pytest.importorskip("diffusers", reason="needs diffusers: `make models` has it")
transformers = pytest.importorskip("transformers", reason="needs transformers: `make models` has it")

from defectory.detection.generative.gligen import TransformAnswer, answer_line, answer_lines  # noqa: E402
from defectory.detection.generative.weights import check_weights  # noqa: E402
from defectory.detection.layouts.records import Layout, LayoutObject  # noqa: E402
from defectory.errors import InputError  # noqa: E402
from defectory.vision.images import encode_png  # noqa: E402

ROOT = Path(__file__).parents[2]
SIDE = 64


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gligen_{name}", ROOT / "models" / "gligen" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def inference() -> ModuleType:
    return program("inference")


def tokenizer():
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77), len(words)


def safety_checker(*, flags: bool):
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        vision_config={**vision, "image_size": 32, "patch_size": 16, "projection_dim": 8}, projection_dim=8
    )
    checker = StableDiffusionSafetyChecker(config)
    # No similarity is above 1, and any is above -2.
    checker.concept_embeds_weights.data.fill_(-2.0 if flags else 2.0)
    checker.special_care_embeds_weights.data.fill_(2.0)
    # The second is what a finder of concepts compares with; zeros would be no direction.
    checker.concept_embeds.data.fill_(1.0)
    checker.special_care_embeds.data.fill_(1.0)
    return checker


def pipeline(*, inpaints: bool = False, flags: bool = False):
    """GLIGEN with some ten thousand weights: it paints noise of 64 pixels, in the way of the real one."""
    torch.manual_seed(0)
    words, count = tokenizer()
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=SIDE // 8,
        in_channels=9 if inpaints else 4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_type="gated",
        attention_head_dim=(2, 4),
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=[32] * 4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        sample_size=SIDE,
    )
    encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            bos_token_id=count - 2,
            eos_token_id=count - 1,
            pad_token_id=1,
            hidden_size=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=2,
            vocab_size=count,
            max_position_embeddings=77,
        )
    )
    # GLIGEN's layers start closed; opened, boxes and phrases matter.
    for name, weight in unet.named_parameters():
        if "alpha" in name:
            weight.data.fill_(1.0)
    made = diffusers.StableDiffusionGLIGENPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=words,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=safety_checker(flags=flags),
        feature_extractor=transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def painter(inference):
    return inference.Gligen(pipeline())


@pytest.fixture(scope="module")
def inpainter(inference):
    return inference.Gligen(pipeline(inpaints=True))


def layout(*objects: LayoutObject, **changes) -> Layout:
    return Layout(**{"image_id": "a", "size": (96, 64), "objects": objects, "seed": 5, **changes})


def cone(*box: float, **changes) -> LayoutObject:
    return LayoutObject(**{"label": "safety_cone", "box": box, **changes})


def line(asked: Layout, **changes) -> bytes:
    content = {"image_id": asked.image_id, "layout": asked.model_dump(mode="json"), "steps": 2, **changes}
    return json.dumps(content).encode()


def background(asked: Layout, level: int = 90) -> str:
    width, height = asked.size
    picture = np.full((height, width, 3), level, np.uint8)
    picture[: height // 2] += 60
    return base64.b64encode(encode_png(picture)).decode()


def picture(answer: TransformAnswer, asked: Layout) -> np.ndarray:
    image = answer.picture(asked)
    assert image is not None, answer.error
    return image


def test_a_layout_becomes_a_picture_of_its_size(painter):
    asked = layout(cone(10, 10, 30, 40), cone(50, 20, 20, 40))
    answer = answer_line(line(asked), painter)

    assert picture(answer, asked).shape == (64, 96, 3)
    assert (answer.image_id, answer.withheld, answer.dropped) == ("a", False, ())


@pytest.mark.parametrize("kind", ["painter", "inpainter"])
def test_a_picture_hangs_on_its_own_seed_and_not_on_what_was_painted_before(kind, request):
    model, asked = request.getfixturevalue(kind), layout(cone(10, 10, 30, 40))
    how = {"background": background(asked)} if model.inpaints else {}
    first = answer_line(line(asked, **how), model)
    other = answer_line(line(asked.model_copy(update={"seed": 6}), **how), model)
    again = answer_line(line(asked, **how), model)

    assert first.image is not None
    assert first.image == again.image
    assert first.image != other.image


def test_boxes_and_phrases_matter(painter):
    pictures = [
        answer_line(line(layout(item)), painter).image
        for item in (cone(10, 10, 30, 40), cone(40, 10, 30, 40), cone(10, 10, 30, 40, label="pallet"))
    ]

    assert len(set(pictures)) == 3


def test_a_picture_to_paint_into_is_not_cut_by_the_pipeline_and_comes_back_whole(inpainter, monkeypatch):
    def cut(*_):
        raise AssertionError("the pipeline would cut from it")

    monkeypatch.setattr(type(inpainter.pipeline), "target_size_center_crop", cut)
    asked = layout(cone(180, 10, 14, 50), size=(200, 64))
    answer = answer_line(line(asked, background=background(asked)), inpainter)

    assert picture(answer, asked).shape == (64, 200, 3)


def test_what_a_model_has_to_be_given_to_paint_into_is_told(painter, inpainter):
    asked = layout()

    assert "given, as this model inpaints" in str(answer_line(line(asked), inpainter).error)
    with_picture = answer_line(line(asked, background=background(asked)), painter)
    assert "left out, as this model does not inpaint" in str(with_picture.error)


def test_more_objects_than_it_takes_are_named_and_nothing_is_warned_of(painter, recwarn):
    asked = layout(*[cone(2 * number, 0, 2, 20 + number) for number in range(33)])
    answer = answer_line(line(asked), painter)

    assert answer.dropped == (0, 1, 2)
    assert answer.image is not None
    assert not [warning for warning in recwarn if "objects found" in str(warning.message)]


def test_a_layout_without_objects_and_one_of_long_words_are_painted(painter):
    empty, wordy = layout(), layout(cone(10, 10, 30, 40, variant="x" * 64, wears=("hard_hat",) * 9), prompt="y" * 900)

    for asked in (empty, wordy):
        picture(answer_line(line(asked), painter), asked)


def test_what_the_safety_checker_blackens_is_withheld(inference):
    answer = answer_line(line(layout(cone(10, 10, 30, 40))), inference.Gligen(pipeline(flags=True)))

    assert (answer.image, answer.withheld, answer.error) == (None, True, None)


def test_a_record_that_fails_in_the_middle_loses_no_other(painter, monkeypatch):
    call, calls = type(painter.pipeline).__call__, []

    def fail_once(self, *arguments, **options):
        calls.append(options)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, *arguments, **options)

    monkeypatch.setattr(type(painter.pipeline), "__call__", fail_once)
    layouts = [layout(cone(10, 10, 30, 40), image_id=name) for name in "abc"]
    body = b"\n".join([line(layouts[0]), line(layouts[1]), b"{", line(layouts[2])]) + b"\n\n"
    answers = [TransformAnswer.model_validate_json(answer) for answer in answer_lines(body, painter).splitlines()]

    assert [(answer.image_id, answer.image is not None) for answer in answers] == [
        ("a", True), ("b", False), ("", False), ("c", True),
    ]  # fmt: skip
    assert answers[1].error == "OutOfMemoryError: CUDA out of memory"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's archive as ``fetch_weights.py`` packs it, of a folder that was downloaded."""
    folder = tmp_path_factory.mktemp("weights")
    pipeline().save_pretrained(folder / "downloaded")
    options = [
        "--downloaded",
        str(folder / "downloaded"),
        "--revision",
        "0" * 40,
        "--out",
        str(folder / "model.tar.gz"),
    ]
    done = subprocess.run(
        [sys.executable, ROOT / "models" / "gligen" / "fetch_weights.py", *options],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"creativeml-openrail-m\nSHA-256 [0-9a-f]{64}\n", done.stdout)
    return folder / "model.tar.gz"


class Hub(ThreadingHTTPServer):
    """As much of Hugging Face's hub as its client asks for of one repository."""

    repository = "masterful/gligen-1-4-generation-text-box"
    commit = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self, folder: Path) -> None:
        self.files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}
        self.published = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        super().__init__(("127.0.0.1", 0), HubHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        name = path.removeprefix(f"/{hub.repository}/resolve/{hub.commit}/")
        headers = {}
        if path.startswith(f"/api/models/{hub.repository}/tree/{hub.commit}"):
            content = json.dumps([self._entry(name, "path") | {"type": "file"} for name in hub.files]).encode()
        elif path.startswith(f"/api/models/{hub.repository}"):
            siblings = [self._entry(name, "rfilename") | {"blobId": "0" * 40} for name in hub.files]
            content = json.dumps({"id": hub.repository, "sha": hub.commit, "siblings": siblings}).encode()
        elif name in hub.files:
            content, headers = hub.files[name], {"X-Repo-Commit": hub.commit, "ETag": f'"{hub.published[name]}"'}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _entry(self, name: str, key: str) -> dict[str, object]:
        size, digest = len(self.server.files[name]), self.server.published[name]
        large = {"sha256": digest, "oid": digest, "size": size, "pointerSize": 130}
        is_large = name.endswith(".safetensors")
        return {key: name, "size": size, "oid": "0" * 40} | ({"lfs": large} if is_large else {})

    def log_message(self, *_: object) -> None:
        """Nothing: what is asked for is seen by what comes of it."""


@pytest.fixture
def hub(packed: Path):
    with Hub(packed.parent / "downloaded") as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()


def fetch_from(hub: Hub, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "models" / "gligen" / "fetch_weights.py", "--out", folder / "model.tar.gz"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_weights_are_fetched_at_a_commit(hub, packed, tmp_path):
    done = fetch_from(hub, tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"{hub.repository} at {hub.commit}, creativeml-openrail-m" in done.stdout
    with tarfile.open(tmp_path / "model.tar.gz") as ours, tarfile.open(packed) as theirs:
        assert ours.getnames() == theirs.getnames()


def test_weights_that_are_not_what_the_hub_publishes_are_not_packed(hub, tmp_path):
    name = "unet/diffusion_pytorch_model.safetensors"
    hub.files[name] = hub.files[name][:-1] + bytes([hub.files[name][-1] ^ 1])
    done = fetch_from(hub, tmp_path)

    assert done.returncode != 0
    assert f"{name} differs" in done.stderr
    assert not (tmp_path / "model.tar.gz").exists()


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_weights_are_packed_with_their_licence_and_digests_and_loaded_as_they_were(inference, unpacked):
    card = check_weights(unpacked)

    assert (card.licence, card.revision) == ("creativeml-openrail-m", "0" * 40)
    assert {Path(name).suffix for name in card.files} <= {".json", ".safetensors", ".txt"}
    assert inference.model_fn(str(unpacked)).side == SIDE


def test_a_weight_that_was_altered_is_not_loaded(inference, unpacked):
    weights = unpacked / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    with pytest.raises(InputError, match="unaltered: unet"):
        inference.model_fn(str(unpacked))


def test_the_container_answers_as_batch_transform_asks(unpacked):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SM_MODEL_DIR": str(unpacked), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-u", ROOT / "models" / "gligen" / "inference.py", "--port", "0"]
    asked = layout(cone(10, 10, 30, 40))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(words[1] for text in process.stdout if (words := text.split())[:1] == ["serving"])
            while _status(f"{address}/ping") != 200:
                assert process.poll() is None
            parameters = json.loads(_get(f"{address}/execution-parameters"))
            answer = _get(f"{address}/invocations", line(asked))
        finally:
            process.terminate()

    assert parameters == {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6}
    assert picture(TransformAnswer.model_validate_json(answer), asked).shape == (64, 96, 3)


def _get(address: str, content: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, content, {"Content-Type": "application/jsonlines"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        return bytes(reply.read())


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=300) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
