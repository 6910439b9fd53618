"""The gate: no leak between its sides, and a decision that follows from figures on real images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from defectory.datasets import Dataset, ImageRecord
from defectory.errors import InputError
from defectory.images import gate
from defectory.images.gate import run_gate
from defectory.images.gate_result import GateResult, Lift
from defectory.inspection.training import TrainingOptions
from defectory.progress import Progress

GOOD, BAD = 100, 200


def write_dataset(
    folder: Path, good: int = 24, bad: int = 16, *, groups: int = 0, masks: bool = True
) -> tuple[Dataset, Dataset]:
    """Real images, and for each defect a synthetic one that was made from it and from a good one.

    The first pixel of an image tells its label; all images differ.
    """
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((0, 24), (0, 24)))).save(folder / "mask.png")

    def record(name: str, level: int, **told: object) -> ImageRecord:
        image = rng.integers(0, 255, (32, 32, 3), np.uint8)
        image[0, 0] = level
        Image.fromarray(image).save(folder / f"{name}.png")
        label = "normal" if level == GOOD else "anomaly"
        mask = folder / "mask.png" if masks and level == BAD else None
        return ImageRecord(folder / f"{name}.png", label, () if level == GOOD else ("blot",), mask, **told)  # type: ignore[arg-type]

    def group(number: int) -> str:
        return f"part {number % groups}" if groups else ""

    real = [record(f"good{n}", GOOD) for n in range(good)]
    real += [record(f"bad{n}", BAD, group=group(n)) for n in range(bad)]
    known = Dataset(tuple(real), folder)
    digests = [known.digest(each.path) for each in real]
    made = [
        record(f"made{n}", BAD, synthetic=True, made_from=(digests[n % good], digests[good + n])) for n in range(bad)
    ]
    return known, Dataset(tuple(made), folder)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """What models were trained on; they tell labels apart by ``skill``, larger with synthetic images than without."""
    seen: list[Dataset] = []
    monkeypatch.setattr(gate, "train_dataset", lambda dataset, options: (seen.append(dataset), Oracle(dataset))[1])
    Oracle.without, Oracle.with_synthetic, Oracle.pixels = 0.5, 3.0, 1.0
    return seen


class Oracle:
    """A model that sees an image's label through noise; it sees better after synthetic images."""

    without, with_synthetic, pixels = 0.5, 3.0, 1.0

    def __init__(self, dataset: Dataset) -> None:
        self._skill = self.with_synthetic if any(each.synthetic for each in dataset.records) else self.without
        self._pixels = self.pixels if any(each.synthetic for each in dataset.records) else 1.0

    def inspect(self, image: np.ndarray) -> SimpleNamespace:
        noise = np.random.default_rng(int(image[5:9].astype(np.uint64).sum()))
        bad = image[0, 0, 0] == BAD
        heatmap = noise.uniform(0, 0.6, (16, 16)).astype(np.float32)
        heatmap[:4, :4] += 0.3 * self._pixels * bad
        return SimpleNamespace(score=float(self._skill * bad + noise.normal()), heatmap=heatmap)


def figures_of(values: Sequence[float]) -> float:
    return float(np.mean(values))


def test_no_image_is_trained_on_that_was_made_from_one_tested_on(tmp_path, trained):
    real, synthetic = write_dataset(tmp_path)

    run_gate(real, synthetic)

    assert len(trained) == 6
    for without, with_synthetic in zip(trained[::2], trained[1::2], strict=True):
        known = {real.digest(record.path) for record in without.records}
        added = [record for record in with_synthetic.records if record.synthetic]
        assert added
        assert all(known.issuperset(record.made_from) for record in added)
        assert {record for record in with_synthetic.records if not record.synthetic} == set(without.records)


def test_photos_of_one_part_are_on_one_side(tmp_path, trained):
    real, synthetic = write_dataset(tmp_path, bad=24, groups=8)

    run_gate(real, synthetic)

    for without in trained[::2]:
        inside = {record.group for record in without.anomalous}
        outside = {record.group for record in set(real.anomalous) - set(without.anomalous)}
        assert inside.isdisjoint(outside)


def test_each_seed_splits_anew(tmp_path, trained):
    run_gate(*write_dataset(tmp_path), seeds=4)

    assert len({dataset.version for dataset in trained[::2]}) == 4


def test_images_that_help_are_kept_with_both_figures(tmp_path, trained):
    result = run_gate(*write_dataset(tmp_path, good=40, bad=40))

    image = result.figures["image AUROC"]
    assert result.decision == "kept"
    assert list(result.figures) == ["image AUROC", "pixel AUROC"]
    assert len(image.without) == len(image.with_synthetic) == 3 == len(result.seeds)
    assert image.difference == pytest.approx(figures_of(image.with_synthetic) - figures_of(image.without))
    assert 0 < image.low <= image.difference <= image.high
    assert (result.real_good, result.real_defects, result.synthetic) == (40, 40, 40)


def test_images_that_hurt_are_dropped(tmp_path, trained):
    Oracle.without, Oracle.with_synthetic = 3.0, 0.2

    result = run_gate(*write_dataset(tmp_path, good=40, bad=40))

    assert result.decision == "dropped"
    assert result.figures["image AUROC"].high < 0
    assert "hurt" in result.reason


def test_a_gain_within_chance_is_none(tmp_path, trained):
    Oracle.without, Oracle.with_synthetic = 1.0, 1.05

    result = run_gate(*write_dataset(tmp_path))

    assert result.decision == "dropped"
    assert "not certain" in result.reason


@pytest.mark.parametrize(
    ("gains", "low", "difference", "high"),
    [
        # Half, nothing, nothing: 1/6 on average.  Of three drawn again, 8 of 27 times none is the first, 1 of 27 times
        # all are: from 0 to 1/2, so from 1/6 below to 1/3 above; sqrt(3 / 2) times as far is -0.0375 to 0.5749.
        ((0,), 1 / 6 - 1.5**0.5 / 6, 1 / 6, 1 / 6 + 1.5**0.5 / 3),
        # Half, half, nothing: from 1/3 below to 1/6 above.
        ((0, 1), 1 / 3 - 1.5**0.5 / 3, 1 / 3, 1 / 3 + 1.5**0.5 / 6),
        # All alike: no doubt at all.
        ((0, 1, 2), 1 / 2, 1 / 2, 1 / 2),
    ],
)
def test_three_seeds_are_a_sample_of_all_so_the_interval_is_wider_than_their_resamples(
    tmp_path, monkeypatch, gains, low, difference, high
):
    class Blind(Oracle):
        """Gives all images the same score, an AUROC of 0.5; or, after synthetic images and some seeds, tells all."""

        def __init__(self, dataset: Dataset, options: TrainingOptions) -> None:
            self._sees = options.seed in gains and any(each.synthetic for each in dataset.records)

        def inspect(self, image: np.ndarray) -> SimpleNamespace:
            return SimpleNamespace(
                score=float(self._sees and image[0, 0, 0] == BAD), heatmap=np.zeros((16, 16), np.float32)
            )

    monkeypatch.setattr(gate, "train_dataset", Blind)

    image = run_gate(*write_dataset(tmp_path, masks=False)).figures["image AUROC"]

    assert (image.low, image.difference, image.high) == pytest.approx((low, difference, high))


def test_images_that_change_nothing_are_dropped(tmp_path, trained):
    Oracle.without = Oracle.with_synthetic = 1.0

    result = run_gate(*write_dataset(tmp_path))

    image = result.figures["image AUROC"]
    assert (result.decision, image.low, image.difference, image.high) == ("dropped", 0, 0, 0)


def test_where_images_are_told_apart_anyway_the_pixels_decide(tmp_path, trained):
    Oracle.without = Oracle.with_synthetic = 50.0
    Oracle.pixels = 2.0

    result = run_gate(*write_dataset(tmp_path))

    assert result.decision == "kept"
    assert next(iter(result.figures)) == "pixel AUROC"


def test_a_gain_in_images_that_costs_pixels_is_not_taken(tmp_path, trained):
    Oracle.pixels = -1.0

    result = run_gate(*write_dataset(tmp_path, good=40, bad=40))

    assert result.decision == "dropped"
    assert "pixel AUROC falls" in result.reason


def test_without_masks_only_images_are_compared(tmp_path, trained):
    result = run_gate(*write_dataset(tmp_path, masks=False))

    assert list(result.figures) == ["image AUROC"]


@pytest.mark.parametrize(("bad", "groups"), [(3, 0), (5, 0), (12, 2)])
def test_with_too_few_real_defects_nobody_knows(tmp_path, trained, bad, groups):
    result = run_gate(*write_dataset(tmp_path, bad=bad, groups=groups))

    assert result.decision == "unmeasured"
    assert not result.figures and not trained
    assert f"{bad} real defects" in result.reason


def test_synthetic_images_among_the_real_ones_are_neither_trained_on_nor_tested_on(tmp_path, trained):
    real, synthetic = write_dataset(tmp_path)
    mixed = Dataset((*real.records, *synthetic.records), real.root)

    result = run_gate(mixed, synthetic)

    assert result.real_defects == 16
    assert not any(record.synthetic for without in trained[::2] for record in without.records)


def test_progress_is_told_to_its_end(tmp_path, trained):
    heard: list[Progress] = []

    run_gate(*write_dataset(tmp_path), on_progress=heard.append)

    assert heard == [Progress("trying whether they help", number, 6) for number in range(1, 7)]


def test_fewer_than_three_seeds_and_nothing_to_try_are_refused(tmp_path, trained):
    real, synthetic = write_dataset(tmp_path)

    with pytest.raises(InputError, match="seeds"):
        run_gate(real, synthetic, seeds=2)
    with pytest.raises(InputError, match="synthetic"):
        run_gate(real, real)


def test_the_gate_trains_real_models(tmp_path):
    """Given noise for photos, where nothing can help, then the gate says so after training and testing for real."""
    result = run_gate(
        *write_dataset(tmp_path, good=8, bad=10), options=TrainingOptions(resolution=64, detector="patchcore")
    )

    assert result.decision == "dropped"
    assert all(0 <= value <= 1 for value in result.figures["image AUROC"].with_synthetic)


# ------------------------------------------------------------------ the decision by figures


def lift(low: float, high: float, without: float = 0.8) -> Lift:
    return Lift(without=(without,), with_synthetic=(without,), difference=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("deciding", "other", "decision", "said"),
    [
        (lift(0.001, 0.1), lift(-0.1, 0.1), "kept", "they help"),
        (lift(0.0, 0.1), lift(-0.1, 0.1), "dropped", "not certain"),
        (lift(0.001, 0.1), lift(-0.1, 0.0), "kept", "they help"),
        (lift(0.001, 0.1), lift(-0.1, -0.001), "dropped", "but pixel AUROC falls"),
        (lift(-0.1, 0.0), lift(0.1, 0.2), "dropped", "not certain"),
        (lift(-0.1, -0.001), lift(0.1, 0.2), "dropped", "they hurt"),
    ],
)
def test_images_are_kept_where_the_interval_lies_above_0_and_no_other_lies_below(deciding, other, decision, said):
    decided, reason = gate._decide({"image AUROC": deciding, "pixel AUROC": other})

    assert decided == decision
    assert said in reason


@pytest.mark.parametrize(("without", "deciding"), [(0.9949, "image AUROC"), (0.995, "pixel AUROC")])
def test_from_an_image_auroc_of_0_995_on_the_pixels_decide(tmp_path, trained, monkeypatch, without, deciding):
    lifts = iter([lift(-0.1, 0.1, without), lift(0.1, 0.2)])
    monkeypatch.setattr(gate, "_compare", lambda pairs: next(lifts))

    result = run_gate(*write_dataset(tmp_path))

    assert next(iter(result.figures)) == deciding
    assert result.decision == ("kept" if deciding == "pixel AUROC" else "dropped")


@pytest.mark.parametrize(
    ("defects", "share"),
    # Five have to be left to learn from: of 20 that leaves three quarters to spare, and two fifths are held out; of 6
    # one sixth; of 5 none, and the least share is tried.
    [(20, 0.4), (9, 0.4), (8, 0.375), (6, 1 / 6), (5, 0.05)],
)
def test_two_fifths_are_held_out_or_what_can_be_spared(tmp_path, monkeypatch, defects, share):
    asked: list[float] = []
    monkeypatch.setattr(gate, "split", lambda known, *, test, seed: asked.append(test))
    records = tuple(ImageRecord(tmp_path / f"{number}.png", "anomaly") for number in range(defects))

    gate._split(Dataset(records, tmp_path), seed=0)

    assert asked == [pytest.approx(share)]


@pytest.mark.parametrize(
    ("bad", "said"), [(3, "too few to hold some out; it takes at least 4"), (4, "When some are held out")]
)
def test_four_real_defects_are_enough_to_try_to_hold_some_out(tmp_path, trained, bad, said):
    assert said in run_gate(*write_dataset(tmp_path, bad=bad)).reason


def test_the_area_of_images_and_of_pixels_is_that_of_their_scores():
    # Scores of good images 1, 2, 3 and of defects 2 and 4: of six pairs 1.5 + 3 are in order.  The pixels' counts are
    # those of two levels.
    results = gate._Results(
        scores=np.array([1.0, 2.0, 3.0, 2.0, 4.0]),
        defective=np.array([False, False, False, True, True]),
        units=np.array([0, 1, 2, 3, 4]),
        heat=((np.array([2.0, 1.0]), np.zeros(2)), None, None, (np.array([3.0, 0.0]), np.array([1.0, 3.0])), None),
    )
    even = np.ones((1, 5))

    assert gate._Ranks.of_images(results).areas(even) == pytest.approx([4.5 / 6])
    # Beside a pixel of the lower level lie 5 / 2 of the good ones, of the upper 5 + 1 / 2: (2.5 + 3 * 5.5) / 24
    assert gate._Ranks.of_pixels(results).areas(even) == pytest.approx([19 / 24])
    # Without the third good image and the second defect: (0.5 + 1) / 2.
    assert gate._Ranks.of_images(results).areas(np.array([[1.0, 1, 0, 1, 0]])) == pytest.approx([1.5 / 2])
    assert results.has_pixels


@pytest.mark.parametrize(("bad", "measured"), [(5, False), (6, True), (8, True)])
def test_where_five_defects_are_left_to_learn_from_there_is_a_measurement(tmp_path, trained, bad, measured):
    assert (run_gate(*write_dataset(tmp_path, bad=bad)).decision != "unmeasured") is measured


def test_the_pixels_of_a_defect_are_those_of_its_mask_in_the_heatmaps_size(tmp_path):
    # A mask of 16 x 8 pixels, its left half marked, beside a heatmap of 4 x 2: the first two of each row.
    mask = np.zeros((8, 16), np.uint8)
    mask[:, :8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask).save(tmp_path / "bad.png")
    heatmap = np.array([[0.0, 0.5, 0.25, 0.999], [1.0, 0.5, 0.0, 0.0]], np.float32)
    bad = ImageRecord(tmp_path / "bad.png", "anomaly", ("blot",), tmp_path / "mask.png")

    good_pixels, bad_pixels = gate._heat(heatmap, bad)

    assert {level: count for level, count in enumerate(bad_pixels) if count} == {0: 1, 128: 2, 255: 1}
    assert {level: count for level, count in enumerate(good_pixels) if count} == {0: 2, 64: 1, 255: 1}
    # All pixels of a good part are good, and of a defect without a mask nobody knows.
    assert gate._heat(heatmap, ImageRecord(tmp_path / "bad.png", "normal"))[1].sum() == 0
    assert gate._heat(heatmap, ImageRecord(tmp_path / "bad.png", "anomaly", ("blot",))) is None


@pytest.mark.parametrize("field", ["real_good", "real_defects", "synthetic"])
def test_a_result_counts_images(field):
    counts = {"real_good": 0, "real_defects": 0, "synthetic": 0}

    assert GateResult(decision="kept", reason="", **counts).seeds == ()
    with pytest.raises(ValueError, match=field):
        GateResult(decision="kept", reason="", **{**counts, field: -1})
