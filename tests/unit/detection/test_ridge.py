"""The ridge trainer: its sums, its targets, its graph, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors import samples as samples_module
from defectory.detection.detectors.card import InputSpec
from defectory.detection.detectors.detector import Detector, load_detector
from defectory.detection.detectors.ridge.graph import ANCHORS, IMAGE, DetectorGraph, RegionOptions
from defectory.detection.detectors.ridge.regression import RidgeSums, Standardiser
from defectory.detection.detectors.ridge.seen import SeenImage, SeenImages
from defectory.detection.detectors.ridge.targets import place_targets, proposal_targets
from defectory.detection.detectors.ridge.training import MAPS, RidgeOptions
from defectory.detection.detectors.samples import TrainingImages, draw_samples, recolour, zoom
from defectory.detection.detectors.training import train_detector
from defectory.detection.labelled import open_labelled
from defectory.detection.matching import BoxRows, average_precision
from defectory.errors import InputError
from defectory.inspection.backbone import embedded_backbone
from defectory.inspection.backbone.session import open_session
from defectory.vision.images import load_image
from tests.support.shape_scenes import write_scenes

LABELS = ("safety_cone", "trash_can")
OPTIONS = RidgeOptions(side=192, scales=(1.0,), refinements=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("train"), 24, "train", size=192, labels=LABELS)


@pytest.fixture(scope="module")
def detector(scenes: Path) -> Detector:
    return train_detector(scenes, OPTIONS)


def test_sums_of_blocks_give_the_ridge_regression_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(200, 6)).astype(np.float32), rng.uniform(1, 3, 200).astype(np.float32)
    targets = (rows @ rng.normal(size=(6, 2)) + 5).astype(np.float32)
    sums = RidgeSums(6, 2)
    for block in np.array_split(np.arange(200), 7):
        sums.add(rows[block], targets[block], weights[block])

    solved = sums.solve(0.1)

    penalty = 0.1 * float((weights[:, None] * rows.astype(float) ** 2).sum()) / 6
    expected = Ridge(alpha=penalty, solver="cholesky").fit(rows.astype(float), targets, sample_weight=weights)
    np.testing.assert_allclose(solved[:-1], expected.coef_.T, rtol=1e-4)
    np.testing.assert_allclose(solved[-1], expected.intercept_, rtol=1e-4)


def test_folded_weights_answer_for_features_as_they_are() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(3, 7, (50, 4)).astype(np.float32), rng.normal(size=(5, 2))
    standard = Standardiser(rows)

    folded = standard.fold(weights)

    expected = standard.apply(rows) @ weights[:-1] + weights[-1]
    np.testing.assert_allclose(rows @ folded[:-1] + folded[-1], expected, atol=1e-5)


def test_a_box_is_looked_for_at_the_stride_of_its_size() -> None:
    box = np.array([[64, 64, 96, 96]], np.float32)

    fine, coarse = (place_targets(box, np.array([1]), 3, stride, 256 // stride, 256 // stride) for stride in (8, 32))

    assert fine.scores[:, 1].max() == 1 and fine.scores[:, [0, 2]].max() == 0
    peaks = np.flatnonzero(fine.has_box)
    # Places of stride 8 whose centres lie within a quarter of the sides around (80, 80): 76 and 84.
    assert sorted((int(place) % 32, int(place) // 32) for place in peaks) == [(9, 9), (9, 10), (10, 9), (10, 10)]
    assert fine.shifts[peaks[0]].tolist() == pytest.approx(
        [4 / ANCHORS[8], 4 / ANCHORS[8], np.log(32 / ANCHORS[8]), np.log(32 / ANCHORS[8])]
    )
    assert not coarse.has_box.any() and not coarse.scores.any() and coarse.ignored.any()


def test_proposals_learn_how_well_they_cover_and_the_way_to_the_box() -> None:
    boxes, labels = np.array([[0, 0, 100, 100]], np.float32), np.array([2])
    proposals = np.array([[0, 0, 100, 100], [20, 0, 120, 100], [0, 0, 100, 50], [200, 200, 220, 220]], np.float32)

    targets = proposal_targets(proposals, boxes, labels, 3)

    # Overlaps of 1, 2/3, 1/2 and 0, on a scale from 0.35 to 0.75.
    assert targets.scores[:, 2].tolist() == pytest.approx([1, (2 / 3 - 0.35) / 0.4, 0.15 / 0.4, 0])
    assert targets.has_box.tolist() == [True, True, True, False]
    assert targets.shifts[1].tolist() == pytest.approx([-0.2, 0, 0, 0])
    assert targets.shifts[2].tolist() == pytest.approx([0, 0.5, 0, np.log(2)])
    assert not proposal_targets(proposals, boxes[:0], labels[:0], 3).has_box.any()


def test_the_graph_decodes_what_targets_say() -> None:
    """With heads whose intercepts alone say "here, and so large", proposals are the anchors at all places."""
    maps = MAPS["efficientnet_lite0"]
    graph = DetectorGraph(embedded_backbone(features=[item.name for item in maps]).content, maps)
    heads = {stride: np.zeros((graph.width + 1, 5), np.float32) for stride in ANCHORS}
    for stride in ANCHORS:
        heads[stride][-1] = [float(stride == 32), 0.1, -0.1, -2.0, -1.0]
    options = RegionOptions(proposals=200, overlap=0.999)
    corners, scores = graph.add_proposals(heads, 1, options)

    session = open_session(graph.serialise({"corners": corners, "scores": scores}))
    boxes, values = session.run(None, {IMAGE: np.zeros((1, 3, 64, 96), np.float32)})

    best = boxes[values[:, 0] == 1]
    side = ANCHORS[32]
    expected = [
        np.clip([x + 0.1 * side - side / np.e**2 / 2, y - 0.1 * side - side / np.e / 2,
                 x + 0.1 * side + side / np.e**2 / 2, y - 0.1 * side + side / np.e / 2], 0, [96, 64, 96, 64])
        for y in (16, 48) for x in (16, 48, 80)
    ]  # fmt: skip
    np.testing.assert_allclose(sorted(best.tolist()), sorted(np.array(expected).tolist()), atol=1e-3)
    assert len(values) == 6 + 24 + 96


def test_heads_answer_from_stored_maps_what_they_answer_from_the_levels_that_they_learned_on() -> None:
    maps = MAPS["efficientnet_lite0"]
    graph = DetectorGraph(embedded_backbone(features=[item.name for item in maps]).content, maps)
    rng = np.random.default_rng(0)
    heads = {stride: np.zeros((graph.width + 1, 5), np.float32) for stride in ANCHORS}
    for stride in ANCHORS:
        heads[stride][:, 0] = rng.normal(0, 0.05, graph.width + 1)
        heads[stride][-1, 1:] = [0, 0, -2, -1]
    image = rng.normal(0, 1, (1, 3, 64, 96)).astype(np.float32)
    outputs = {f"{item.name}.seen": item.name for item in maps} | {str(key): graph.pyramid[key] for key in ANCHORS}
    *seen, fine, middle, coarse = open_session(graph.serialise(outputs)).run(None, {IMAGE: image})
    _, scores = graph.add_proposals(heads, 1, RegionOptions(proposals=200, overlap=0.999))

    with SeenImages() as images:
        given = {item.name: values for item, values in zip(maps, seen, strict=True)}
        images.add(SeenImage(given, np.zeros((0, 4), np.float32), np.zeros(0, np.intp)))
        [stored] = images
    [answered] = open_session(graph.serialise({"scores": scores}, from_maps=True)).run(None, stored.maps)

    expected = [
        level[0].reshape(graph.width, -1).T @ heads[stride][:-1, :1] + heads[stride][-1, :1]
        for stride, level in zip(ANCHORS, (fine, middle, coarse), strict=True)
    ]
    np.testing.assert_allclose(np.sort(answered[:, 0]), np.sort(np.concatenate(expected)[:, 0]), rtol=0.01, atol=0.01)


def test_samples_are_mirrored_and_sized_with_their_boxes(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_module, "_ZOOMED_SHARE", 0)
    images = TrainingImages.read([open_labelled(scenes)])
    spec = InputSpec(name=IMAGE, height=192, width=192, resize="fit", multiple=32)
    rng, problems = np.random.default_rng(0), list[BoxProblem]()

    samples = [next(draw_samples(images, [0], spec, rng, problems.append)) for _ in range(8)]

    corners, _ = images.boxes(0)
    flat = {round(float(sample.boxes[0, 0] / sample.prepared.scale_x), 1) for sample in samples if sample}
    assert flat <= {round(float(corners[0, 0]), 1), round(float(192 - corners[0, 2]), 1)} and len(flat) == 2
    assert len({sample.prepared.scale_x for sample in samples if sample}) > 4
    assert not problems


def test_a_part_of_an_image_has_one_of_its_objects_whole_and_what_is_cut_off_goes() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 20:40], image[40:60, 160:180] = 1, 2
    boxes, labels = np.array([[20, 40, 40, 60], [160, 40, 180, 60]], np.float32), np.array([1, 2])

    parts = [zoom(image, boxes, labels, np.random.default_rng(seed)) for seed in range(40)]

    for part, inside, left in parts:
        assert len(left) in (1, 2)
        whole = [box for box in inside.astype(int).tolist() if box[2] - box[0] == box[3] - box[1] == 20]
        assert whole
        for box, label in zip(inside.astype(int).tolist(), left.tolist(), strict=True):
            assert (part[box[1] : box[3], box[0] : box[2]] == label).all()
    assert min(part.shape[1] for part, _, _ in parts) < 70 and max(part.shape[1] for part, _, _ in parts) > 150


def test_other_colours_keep_what_is_brighter_brighter() -> None:
    ramp = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[None, :, None], 3, axis=2)

    for seed in range(10):
        changed = recolour(ramp, np.random.default_rng(seed)).astype(int)
        assert changed.shape == ramp.shape and (np.diff(changed[0], axis=0) >= 0).all()


def test_it_finds_variants_that_it_never_saw(detector: Detector, tmp_path: Path) -> None:
    truth, found = BoxRows(), BoxRows()
    unseen = write_scenes(tmp_path, 12, "test", size=192, labels=LABELS)
    for number, image in enumerate(open_labelled(unseen)):
        for item in image.objects:
            truth.add(number, LABELS.index(item.label), item.box)
        for detection in detector.detect(load_image(image.path), min_score=0):
            found.add(number, LABELS.index(detection.label), detection.box, score=detection.score)

    assert average_precision(truth.table(), found.table(), 2).mean(ious=0) > 0.6
    assert detector.card.training == {
        "images": 20,
        "objects": sum(item.objects for item in detector.card.classes),
        "held_out": 4,
    }
    assert detector.card.license == "Apache-2.0"


def test_the_same_seed_gives_the_same_detector_and_images_that_are_gone_are_told_of(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "a", 13, "train", size=64, labels=LABELS)
    options = RidgeOptions(side=128, scales=(1.0,), refinements=1)

    first, again = train_detector(folder, options), train_detector(folder, options)

    assert again.card.version == first.card.version
    assert load_detector(again.to_bytes()).content == first.content
    next(iter(open_labelled(folder))).path.unlink()
    problems: list[BoxProblem] = []
    train_detector(folder, options, on_problem=problems.append)
    assert {problem.kind for problem in problems} == {"missing image"}
    with pytest.raises(InputError, match="image file that is there"):
        train_detector(folder, options)
    (folder / "scenes.jsonl").write_text("")
    with pytest.raises(InputError, match="boxes on them"):
        train_detector(folder)
