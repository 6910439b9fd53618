"""D-FINE and RF-DETR at tiny size with random weights: they learn, go on where they stood, and are served as ridge."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: `make models` has it")
pytest.importorskip("transformers", reason="needs transformers: `make models` has it")

from defectory.datasets.boxes import BoxProblem  # noqa: E402
from defectory.detection.detectors.card import DetectorCard  # noqa: E402
from defectory.detection.detectors.decoding import prepare  # noqa: E402
from defectory.detection.detectors.detector import Detector, assemble, load_detector  # noqa: E402
from defectory.detection.detectors.detr.architectures import Network, build_network  # noqa: E402
from defectory.detection.detectors.detr.batches import BatchPlan, load_batches  # noqa: E402
from defectory.detection.detectors.detr.export import describe_output, export  # noqa: E402
from defectory.detection.detectors.detr.options import DetrKind, DetrOptions  # noqa: E402
from defectory.detection.detectors.detr.training import (  # noqa: E402
    InterruptedTrainingError,
    average_weights,
    learning_rate_factor,
    train_detr,
)
from defectory.detection.detectors.held_out import describe_images, split_images  # noqa: E402
from defectory.detection.detectors.samples import TrainingImages  # noqa: E402
from defectory.detection.labelled import open_labelled  # noqa: E402
from defectory.errors import InputError  # noqa: E402
from defectory.progress import Progress  # noqa: E402
from defectory.vision.images import load_image  # noqa: E402
from tests.support.shape_scenes import write_scenes  # noqa: E402

LABELS = ("safety_cone", "trash_can")
KINDS: tuple[DetrKind, ...] = get_args(DetrKind)
QUICK = DetrOptions(size="tiny", side=128, epochs=2, batch=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("train"), 8, "train", size=128, labels=LABELS)


def network(kind: DetrKind, options: DetrOptions = QUICK, weights: Path | None = None) -> Network:
    torch.manual_seed(0)
    return build_network(kind, LABELS, options, weights)


def train(kind: DetrKind, scenes: Path, options: DetrOptions = QUICK, **more: object) -> Detector:
    return train_detr(kind, [open_labelled(scenes)], options, **more)


def settle(trained: Network, scenes: Path) -> None:
    """Let a random network's normalisation know its images: else all features are one, and noise chooses queries."""
    images = [load_image(path) for path in sorted((scenes / "images").iterdir())]
    pixels = torch.from_numpy(np.concatenate([prepare(image, trained.input).tensor for image in images]))
    trained.model.train()
    with torch.no_grad():
        for _ in range(60):
            trained.model(pixel_values=pixels)


def raw_heads(trained: Network, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        output = trained.model.eval()(pixel_values=torch.from_numpy(prepare(image, trained.input).tensor))
    return output.logits.numpy(), output.pred_boxes.numpy()


def bundle(kind: DetrKind, trained: Network, scenes: Path) -> Detector:
    images = TrainingImages.read([open_labelled(scenes)])
    described = describe_images(images, split_images(len(images), np.random.default_rng(0)))
    card = DetectorCard(
        created="2026-01-01", kind=kind, **described, input=trained.input, output=describe_output(LABELS)
    )
    return assemble(card, export(trained.model, trained.input))


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_gives_the_numbers_of_torch_and_a_bundle_those_of_both(
    kind: DetrKind, scenes: Path, tmp_path: Path
) -> None:
    trained = network(kind)
    settle(trained, scenes)
    image = load_image(scenes / "images" / "train-00000.png")

    detector = load_detector(bundle(kind, trained, scenes).save(tmp_path / "detector.tar.gz"))

    logits, boxes = raw_heads(trained, image)
    feeds = {"image": prepare(image, trained.input).tensor}
    served = detector.session.run(["logits", "boxes"], feeds)
    np.testing.assert_allclose(served[0], logits, atol=1e-4)
    np.testing.assert_allclose(served[1], boxes, atol=1e-4)
    best = np.unravel_index(logits[0].argmax(), logits[0].shape)
    first = detector.detect(image, min_score=0)[0]
    assert first.label == LABELS[best[1]]
    assert first.score == pytest.approx(1 / (1 + np.exp(-logits[0][best])), abs=1e-4)
    x, y, width, height = boxes[0][best[0]] * 128
    left, top = max(x - width / 2, 0), max(y - height / 2, 0)
    assert first.box[:2] == pytest.approx((left, top), abs=0.05)
    # Of the machine it was made on it says nothing.
    assert str(Path.cwd()).encode() not in detector.content
    assert b"site-packages" not in detector.content


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("dfine", {"epochs": 200, "learning_rate": 2e-3, "clip_norm": 1.0, "ema_decay": 0.95}),
        ("rfdetr", {"epochs": 400, "learning_rate": 1e-3, "clip_norm": 0.1, "ema_decay": 0.98}),
    ],
)
def test_it_learns_eight_images_by_heart(kind: DetrKind, how: dict[str, float], scenes: Path) -> None:
    # Given no change of images by chance, which would have it learn more than these
    detector = train(kind, scenes, DetrOptions(size="tiny", side=128, batch=8, augment=False, **how))

    card = detector.card
    assert card.metrics["map50"] > 0.8
    assert card.training["last_epoch_loss"] < 0.7 * card.training["first_epoch_loss"]
    assert (card.kind, card.training["weights"], card.training["skipped_steps"]) == (kind, "random", 0)
    assert any("random" in warning for warning in card.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_sigterm_ends_goes_on_to_where_it_would_have_ended(
    kind: DetrKind, scenes: Path, tmp_path: Path
) -> None:
    def end(progress: Progress) -> None:
        if (progress.stage, progress.done) == ("training", 3):
            os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "checkpoints"
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InterruptedTrainingError, match="after 3 of 4 steps"):
        train(kind, scenes, checkpoints=folder, on_progress=end)
    assert signal.getsignal(signal.SIGTERM) == before
    steps: list[int] = []

    resumed = train(kind, scenes, checkpoints=folder, on_progress=lambda now: steps.append(now.done))

    assert steps[0] == 4
    whole = train(kind, scenes)
    assert resumed.content == whole.content
    assert resumed.card.training == whole.card.training


def test_checkpoints_of_another_training_are_refused_and_one_cut_off_is_passed_over(
    scenes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    train("rfdetr", scenes, checkpoints=folder)
    first, last = sorted(folder.iterdir())
    assert [path.name for path in (first, last)] == [f"checkpoint-{step:08d}.safetensors" for step in (2, 4)]

    with pytest.raises(InputError, match="this training's own checkpoints"):
        train("rfdetr", scenes, QUICK.model_copy(update={"learning_rate": 1e-4}), checkpoints=folder)
    last.write_bytes(last.read_bytes()[:1000])
    steps: list[int] = []
    train("rfdetr", scenes, checkpoints=folder, on_progress=lambda now: steps.append(now.done))
    assert steps[0] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_given_weights_are_what_is_started_from_whatever_their_classes(kind: DetrKind, tmp_path: Path) -> None:
    torch.manual_seed(1)
    given = build_network(kind, ("one", "two", "three"), QUICK).model
    given.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]

    started = network(kind, DetrOptions(side=128), weights=tmp_path)

    own, others = dict(started.model.named_parameters()), dict(given.named_parameters())
    backbone = [name for name in own if started.is_backbone(name)]
    assert backbone and all(torch.equal(own[name], others[name]) for name in backbone)
    assert started.model.config.num_labels == 2
    assert len(started.weights) == 64
    assert "other shapes" in started.warnings[0]


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    options = DetrOptions(side=128)
    with pytest.raises(InputError, match=r"it lacks config\.json"):
        network("dfine", options, tmp_path)
    network("rfdetr").model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="model_type d_fine, not rf_detr"):
        network("dfine", options, tmp_path)
    with pytest.raises(InputError, match="left out where weights are given"):
        network("rfdetr", QUICK, tmp_path)
    with pytest.raises(InputError, match="a multiple of 32"):
        network("rfdetr", DetrOptions(side=100), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "decoder_layers": 4}))
    with pytest.raises(InputError, match="are missing, such as"):
        network("rfdetr", options, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match=r"a readable model\.safetensors"):
        network("rfdetr", options, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["nano", "small", "medium", "large"])
def test_the_published_sizes_are_networks(kind: DetrKind, size: str) -> None:
    # Millions of parameters as their authors publish them, of 80 and 90 classes.
    published = {
        "dfine": {"nano": 4, "small": 10, "medium": 19, "large": 31},
        "rfdetr": {"nano": 30.5, "small": 32.1, "medium": 33.7, "large": 33.9},
    }
    with torch.device("meta"):
        model = build_network(kind, [str(number) for number in range(80)], DetrOptions(size=size)).model
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(published[kind][size], rel=0.1)


def test_an_image_that_cannot_be_read_is_told_of_and_left_out(scenes: Path, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes", 5, "train", size=128, labels=LABELS)
    (folder / "images" / "train-00002.png").write_bytes(b"none")
    problems: list[BoxProblem] = []

    train("rfdetr", folder, on_problem=problems.append)

    assert {Path(problem.place).name for problem in problems} == {"train-00002.png"}


def test_images_without_objects_are_learned_from_too(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes", 3, "train", size=128, labels=LABELS)
    lines = [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        line["objects"] = []
    (folder / "scenes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    for kind in KINDS:
        detector = train(kind, folder, QUICK.model_copy(update={"batch": 1, "epochs": 1}))
        assert detector.card.training["skipped_steps"] == 0


def test_a_loss_that_is_no_number_changes_nothing_and_ends_the_training(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = network("rfdetr")
    monkeypatch.setattr("defectory.detection.detectors.detr.training.build_network", lambda *arguments: trained)
    with torch.no_grad():
        trained.model.class_embed.bias.fill_(float("nan"))
    before = {name: value.clone() for name, value in trained.model.named_parameters()}

    for epochs, how_often in ((20, "10 steps in a row"), (1, "in any step")):
        with pytest.raises(InputError, match=f"the loss stays a number, which it was not: {how_often}"):
            train("rfdetr", scenes, QUICK.model_copy(update={"epochs": epochs}))

    assert all(
        torch.equal(value, before[name]) or value.isnan().any() for name, value in trained.model.named_parameters()
    )


def test_the_learning_rate_rises_and_falls_along_a_cosine() -> None:
    # 10 steps to rise over, then 90: half-way down the rate is a half.
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:2] == pytest.approx([1 / 11, 2 / 11])
    assert (factors[10], factors[55], factors[40]) == pytest.approx((1, 0.5, 0.75))
    assert factors[99] < 0.001
    assert learning_rate_factor(0, 1, 0.0) == 1


def test_averages_move_less_the_more_there_were_and_counters_are_copied() -> None:
    average = average_weights(0.9)
    old, new = torch.tensor([1.0]), torch.tensor([2.0])
    # After one of before, (1 + 1) / (10 + 1) of the old stays; after very many, 0.9.
    assert float(average(old, new, torch.tensor(1))) == pytest.approx(1 + 9 / 11)
    assert float(average(old, new, torch.tensor(10_000))) == pytest.approx(1.1)
    assert int(average(torch.tensor(3), torch.tensor(4), torch.tensor(9))) == 4


def test_a_plan_from_any_step_is_the_rest_of_the_whole() -> None:
    options = DetrOptions(epochs=3, batch=4, seed=5)
    whole = list(BatchPlan(np.arange(10), options))
    assert [len(places) for places in whole] == [4, 4, 2] * 3
    for epoch in range(3):
        places = [place for batch in whole[3 * epoch : 3 * epoch + 3] for place in batch]
        assert sorted(places) == [(epoch, number) for number in range(10)]
    assert whole[:3] != [[(0, number) for _, number in batch] for batch in whole[3:6]]
    for begin in range(10):
        plan = BatchPlan(np.arange(10), options, begin)
        assert (list(plan), len(plan)) == (whole[begin:], 9 - begin)


def test_labels_are_shares_of_the_input_and_the_same_in_every_process(scenes: Path) -> None:
    images = TrainingImages.read([open_labelled(scenes)])
    spec = network("rfdetr").input

    def pixels(workers: int) -> Iterator[float]:
        plan = BatchPlan(np.arange(8), QUICK.model_copy(update={"workers": workers}))
        for batch in load_batches(images, spec, plan):
            yield float(batch.pixels.sum())

    assert list(pixels(0)) == list(pixels(2))
    still = BatchPlan(np.arange(1), QUICK.model_copy(update={"augment": False}))
    [labels] = next(load_batches(images, spec, still)).labels
    corners, numbers = images.boxes(0)
    centres = (corners[:, :2] + corners[:, 2:]) / 2 / 128
    np.testing.assert_allclose(labels["boxes"][:, :2].numpy(), centres, atol=1e-5)
    np.testing.assert_allclose(labels["boxes"][:, 2:].numpy(), (corners[:, 2:] - corners[:, :2]) / 128, atol=1e-5)
    assert labels["class_labels"].tolist() == numbers.tolist()
