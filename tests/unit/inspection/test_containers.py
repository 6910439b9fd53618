"""The entry points of SageMaker's containers, as processes that have what a container has: nothing else installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner
from werkzeug.exceptions import HTTPException

from defectory.cli import app
from defectory.inspection.backbone import embedded_backbone
from defectory.inspection.gate import ModelComparison, read_comparison
from defectory.inspection.lookout import LOOKOUT_MEDIA_TYPE, LookoutForVision, detect_anomalies_answer
from defectory.inspection.model import Model, load_model
from defectory.inspection.samples import write_samples
from defectory.inspection.verdicts import Inspection, InspectionReply, parse_reply
from defectory.vision.images import encode_png, load_image
from tests.support.containers import ROOT, await_model, call, link_libraries, run_endpoint, run_job, unpack_source

OPTIONS = {"resolution": 96, "detector": "patchcore"}
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with datasets, and the source as a container unpacks it."""
    folder = tmp_path_factory.mktemp("opt-ml")
    write_samples(folder / "train", good=8, defective=0, seed=1)
    write_samples(folder / "test", good=3, defective=3, seed=2)
    source = unpack_source("inspection", ("train.py", "evaluate.py", "inference.py"), folder / "source")
    (source / "backbone.onnx").write_bytes(embedded_backbone().content)
    return folder


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries of an endpoint."""
    return link_libraries(tmp_path_factory.mktemp("libraries"), "inspection", "requirements.txt")


@pytest.fixture(scope="module")
def training_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries of a training or evaluation job."""
    return link_libraries(
        tmp_path_factory.mktemp("more"), "inspection", "requirements.txt", "requirements-training.txt"
    )


def run(work: Path, libraries: Path, program: str, model: Path, hyperparameters: dict | None = None, **channels: Path):
    return run_job(work / "source" / program, libraries, model, hyperparameters, **channels)


def archive(folder: Path, target: Path) -> Path:
    """What SageMaker makes of a job's model folder."""
    target.mkdir(parents=True)
    with tarfile.open(target / "model.tar.gz", "w:gz") as packed:
        packed.add(folder, arcname=".")
    return target


@pytest.fixture(scope="module")
def trained(work: Path, training_libraries: Path) -> Path:
    """The model folder that a training job left."""
    done = run(work, training_libraries, "train.py", work / "model", {"options": OPTIONS}, train=work / "train")
    assert done.returncode == 0, done.stderr
    return work / "model"


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return load_model(trained)


@pytest.fixture(scope="module")
def endpoint(libraries: Path, trained: Path) -> Iterator[str]:
    with run_endpoint(trained, libraries) as url:
        yield url


def test_a_training_job_leaves_a_model_and_the_code_that_serves_it(trained: Path, model: Model) -> None:
    assert (trained / "code" / "inference.py").is_file()
    assert (trained / "code" / "defectory" / "inspection" / "serving.py").is_file()
    assert not (trained / "code" / "train.py").exists()
    assert model.card.good_images == 8
    assert model.card.detector == "patchcore"


def test_what_sagemaker_packs_is_a_bundle_itself(work: Path, trained: Path, model: Model) -> None:
    packed = archive(trained, work / "packed")
    assert load_model(packed / "model.tar.gz").card == model.card


def test_the_endpoint_gives_the_same_numbers_as_the_library(endpoint: str, work: Path, model: Model) -> None:
    await_model(endpoint)
    for path in sorted((work / "test").glob("*/*.png"))[:4]:
        status, content = call(endpoint, "POST", "/invocations", path.read_bytes(), PNG)
        assert status == 200, content
        reply, expected = parse_reply(content), InspectionReply.of(model.inspect(load_image(path)))
        # Of the same bundle on the same machine: not nearly, but the same.
        assert reply.score == expected.score
        assert reply.confidence == expected.confidence
        assert (reply.verdict, reply.model_version) == (expected.verdict, model.card.version)
        assert [area.name for area in reply.defects] == [area.name for area in expected.defects]
        assert reply.mask == expected.mask


def test_the_endpoint_answers_as_lookout_for_vision(endpoint: str, work: Path, model: Model) -> None:
    await_model(endpoint)
    [path, *_] = sorted((work / "test" / "anomaly").glob("*.png"))
    status, content = call(endpoint, "POST", "/invocations", path.read_bytes(), {**PNG, "Accept": LOOKOUT_MEDIA_TYPE})
    expected = detect_anomalies_answer(model.inspect(load_image(path)))["DetectAnomalyResult"]
    answer = json.loads(content)["DetectAnomalyResult"]
    assert status == 200
    assert answer.keys() == expected.keys()
    assert answer["IsAnomalous"] == expected["IsAnomalous"]
    assert answer["Confidence"] == expected["Confidence"]


def test_the_endpoint_refuses_what_is_no_image(endpoint: str) -> None:
    await_model(endpoint)
    status, content = call(endpoint, "POST", "/invocations", b"GIF89a", PNG)
    assert status == 400
    assert json.loads(content)["error"]["code"] == "BadImage"


def test_an_endpoint_without_a_model_ends_and_says_why(work: Path, libraries: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(libraries), "SM_MODEL_DIR": str(work / "train")}
    command = [sys.executable, "-S", str(work / "source" / "inference.py"), "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "BadModel" in done.stderr


def test_evaluation_compares_both_models_on_the_test_set(
    work: Path, training_libraries: Path, trained: Path, model: Model
) -> None:
    candidate = archive(trained, work / "candidate")
    done = run(
        *(work, training_libraries, "evaluate.py", work / "evaluation"),
        train=work / "train",
        test=work / "test",
        candidate=candidate,
        current=candidate,
    )
    assert done.returncode == 0, done.stderr

    comparison = read_comparison(ModelComparison, (work / "evaluation" / "evaluation.json").read_bytes())

    good, bad = (
        [model.inspect(load_image(path)) for path in sorted((work / "test" / kind).glob("*.png"))]
        for kind in ("normal", "anomaly")
    )
    assert comparison.candidate == comparison.current
    assert comparison.candidate.model_version == model.card.version
    assert (comparison.candidate.normal, comparison.candidate.anomalous) == (3, 3)
    assert comparison.candidate.escapes == sum(each.verdict == "PASS" for each in bad)
    assert comparison.candidate.overkill == sum(each.verdict == "FAIL" for each in good)
    pairs = [(b.score > g.score) + 0.5 * (b.score == g.score) for b in bad for g in good]
    assert comparison.candidate.auroc == pytest.approx(float(np.mean(pairs)))
    assert comparison.trained_on_test == ()


def test_evaluation_finds_test_images_that_were_trained_on(work: Path, training_libraries: Path, trained: Path) -> None:
    leaking = work / "leaking"
    (leaking / "normal").mkdir(parents=True)
    for path in sorted((work / "test" / "normal").glob("*.png"))[:1]:
        (leaking / "normal" / "another-name.png").write_bytes(path.read_bytes())
    done = run(
        *(work, training_libraries, "evaluate.py", work / "leak"),
        train=leaking,
        test=work / "test",
        candidate=archive(trained, work / "once-more"),
    )
    assert done.returncode == 0, done.stderr
    comparison = read_comparison(ModelComparison, (work / "leak" / "evaluation.json").read_bytes())
    assert comparison.trained_on_test == ("normal/flange-000.png",)
    assert comparison.current is None


@pytest.mark.parametrize(
    ("hyperparameters", "channels", "said"),
    [
        ({}, {}, "channel train"),
        ({"options": {"speed": "high"}}, {"train": "train"}, "options"),
        ({}, {"train": "few"}, "good"),
    ],
)
def test_a_job_that_fails_leaves_its_reason(
    work: Path, training_libraries: Path, tmp_path: Path, hyperparameters: dict, channels: dict, said: str
) -> None:
    (work / "few" / "normal").mkdir(parents=True, exist_ok=True)
    (work / "few" / "normal" / "1.png").write_bytes(encode_png(np.full((64, 64, 3), 90, np.uint8)))
    folders = {name: work / folder for name, folder in channels.items()}
    done = run(work, training_libraries, "train.py", tmp_path / "model", hyperparameters, **folders)
    reason = (tmp_path / "model-output" / "failure").read_text()
    assert done.returncode == 2
    assert said in reason
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_serves_until_interrupted_and_lookouts_client_finds_its_answers(
    work: Path, trained: Path, model: Model
) -> None:
    bundle = archive(trained, work / "bundle") / "model.tar.gz"
    command = [sys.executable, "-u", "-m", "defectory", "inspect", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        said, token, curl = (process.stdout.readline() for _ in range(3))
        [url] = re.findall(r"http://\S+", said)
        client = LookoutForVision(endpoint_url=url, token=token.strip().partition("=")[2])
        path = work / "test" / "anomaly" / "scratch-000.png"
        answer = client.detect_anomalies(
            ProjectName="flanges", ModelVersion="1", Body=path.read_bytes(), ContentType="image/png"
        )
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert model.card.version in said
    assert (
        answer["DetectAnomalyResult"] == detect_anomalies_answer(model.inspect(load_image(path)))["DetectAnomalyResult"]
    )
    assert process.returncode == 0
    assert "Stopped" in rest
    assert f"{url}/invocations" in curl


def test_the_command_line_answers_as_lookout_for_vision(work: Path, trained: Path, model: Model) -> None:
    path = work / "test" / "anomaly" / "dent-000.png"
    done = CliRunner().invoke(app, ["inspect", "predict", str(trained), str(path), "--lookout"])
    assert done.exit_code == 0, done.output
    [answer] = json.loads(done.stdout)
    assert answer["image"] == str(path)
    assert (
        answer["DetectAnomalyResult"] == detect_anomalies_answer(model.inspect(load_image(path)))["DetectAnomalyResult"]
    )


class TestToolkit:
    """The functions as the toolkit of SageMaker's scikit-learn container calls them, whose server is Flask."""

    @pytest.fixture
    def program(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        monkeypatch.setattr(sys, "path", list(sys.path))
        spec = importlib.util.spec_from_file_location("inference", ROOT / "models" / "inspection" / "inference.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_an_image_goes_through_all_four(self, program: ModuleType, trained: Path, work: Path, model: Model) -> None:
        path = work / "test" / "anomaly" / "dent-000.png"
        loaded = program.model_fn(str(trained))
        inspection = program.predict_fn(program.input_fn(path.read_bytes(), "image/png"), loaded)
        assert isinstance(inspection, Inspection)
        content, media_type = program.output_fn(inspection, "application/json")
        assert media_type == "application/json"
        assert parse_reply(content).score == model.inspect(load_image(path)).score
        content, media_type = program.output_fn(inspection, LOOKOUT_MEDIA_TYPE)
        assert media_type == LOOKOUT_MEDIA_TYPE
        assert json.loads(content) == detect_anomalies_answer(inspection)

    @pytest.mark.parametrize(
        ("body", "content_type", "status", "code"),
        [
            (b"no image", "image/png", 400, "BadImage"),
            (bytearray(b""), "image/jpeg", 400, "BadImage"),
            (b"a,b", "text/csv", 415, "UnsupportedMediaType"),
        ],
    )
    def test_refusals_are_answers_to_flask_with_our_words(
        self, program: ModuleType, body: bytes, content_type: str, status: int, code: str
    ) -> None:
        with pytest.raises(HTTPException) as refusal:
            program.input_fn(body, content_type)
        answer = refusal.value.get_response()
        assert (answer.status_code, answer.mimetype) == (status, "application/json")
        assert json.loads(answer.get_data())["error"]["code"] == code
        # The local cloud's container reads these.
        assert (refusal.value.status_code, refusal.value.message) == (status, answer.get_data(as_text=True))
