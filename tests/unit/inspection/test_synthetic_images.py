"""Synthetic defects in training: learned from where they help with real ones, never measured on, never a leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from defectory.datasets import Dataset, ImageRecord
from defectory.datasets.records import file_digest
from defectory.inspection import candidates
from defectory.inspection.candidates import FOLDS, Candidate, CandidateSearch, Heads, HeldOut, Sample, Trial
from defectory.inspection.detectors.image_head import ImageHead
from defectory.inspection.model import load_model
from defectory.inspection.training import train, train_dataset
from defectory.progress import Progress, ignore_progress
from tests.unit.inspection.conftest import SMALL, render_part, write_images

QUICK = SMALL.model_copy(update={"detector": "patchcore"})
DEPTH = 12
VALID = np.ones((6, 6), np.bool_)


def unit(vectors: NDArray) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def good_sample(rng: np.random.Generator, group: str = "") -> Sample:
    """Patches around one direction, wildly spread in the last six of their dimensions."""
    spread = np.r_[np.full(DEPTH - 6, 0.02), np.full(6, 0.5)]
    return Sample(unit(np.eye(DEPTH)[0] + rng.normal(0, 1, (6, 6, DEPTH)) * spread), group=group)


def bad_sample(
    rng: np.random.Generator, *, axis: int = 1, group: str = "", sources: frozenset[str] = frozenset()
) -> Sample:
    """A good image but for four patches, moved a little along ``axis``: less than good ones differ by elsewhere."""
    patches, marks = good_sample(rng).patches.copy(), np.zeros((6, 6), np.uint8)
    y, x = rng.integers(0, 5, 2)
    patches[y : y + 2, x : x + 2] += 0.03 * np.eye(DEPTH, dtype=np.float32)[axis]
    marks[y : y + 2, x : x + 2] = 1
    return Sample(unit(patches), 1, marks, group, sources)


def compare(
    *, real: int = 12, synthetic: list[Sample] | None = None, groups: int = 0, damaged: bool = False
) -> CandidateSearch:
    rng = np.random.default_rng(1)

    def group(number: int) -> str:
        return f"part {number % groups if groups else number}"

    good = [good_sample(rng, f"good {number}") for number in range(24)]
    return CandidateSearch(
        good=good,
        defects=[bad_sample(rng, group=group(number)) for number in range(real)],
        damaged=[sample.patches for sample in good] if damaged else (),
        valid=VALID,
        kinds=1,
        seed=0,
        on_progress=ignore_progress,
        synthetic=synthetic or (),
    )


def made(count: int = 40, *, axis: int = 1) -> list[Sample]:
    rng = np.random.default_rng(2)
    return [bad_sample(rng, axis=axis, sources=frozenset({f"good {n % 24}", f"part {n % 12}"})) for n in range(count)]


# ------------------------------------------------------------------ candidates


def test_each_candidate_is_tried_with_and_without_a_signature_on_every_fold():
    search, heard = compare(real=8), []

    trials = replace(search, on_progress=heard.append).trials(["patchcore"])

    assert heard == [Progress("patchcore", fold, 4) for fold in (1, 2, 3, 4)]
    assert [trial.recipe.signature for trial in trials] == [True] * 5 + [False] * 5
    # With a signature its word counts to a power, without one not at all.
    assert all((trial.exponent > 0) is trial.recipe.signature for trial in trials)
    # Each good image's map has a median, none of which is 0; of the eight defects', most of the 24 would be.
    assert all(0 < trial.level < np.median(trial.max_scores) for trial in trials)


def test_nothing_is_fitted_to_what_was_made_from_an_image_held_out(monkeypatch):
    """Given synthetic images of every part, then no fit sees one of a part that it is tested on."""
    fits = []
    fit = ImageHead.fit.__func__  # type: ignore[attr-defined]

    def spy(cls, good, real, synthetic, valid, *, blend_weight):
        fits.append((good, real, synthetic))
        return fit(cls, good, real, synthetic, valid, blend_weight=blend_weight)

    monkeypatch.setattr(candidates.ImageHead, "fit", classmethod(spy))
    comparison = compare(synthetic=made())
    comparison.trials(("patchcore",))

    shown = {id(each.patches): each.group for each in (*comparison.good, *comparison.defects)}
    sources = {id(each.patches): each.sources for each in comparison.synthetic}
    with_synthetic = [each for each in fits if len(each[2])]
    assert len(with_synthetic) >= FOLDS
    for good, real, synthetic in with_synthetic:
        fitted = {shown[id(patches)] for patches in (*good, *real)}
        assert len(synthetic) < len(comparison.synthetic)
        assert all(sources[id(patches)] <= fitted for patches in synthetic)


def test_defects_of_one_part_are_held_out_together(monkeypatch):
    seen = []
    fit = ImageHead.fit.__func__  # type: ignore[attr-defined]

    def spy(cls, good, real, synthetic, valid, *, blend_weight):
        seen.append({id(patches) for patches in real})
        return fit(cls, good, real, synthetic, valid, blend_weight=blend_weight)

    monkeypatch.setattr(candidates.ImageHead, "fit", classmethod(spy))
    comparison = compare(groups=5)
    comparison.trials(("patchcore",))

    groups = {id(sample.patches): sample.group for sample in comparison.defects}
    for fitted in seen:
        inside = {groups[each] for each in fitted}
        outside = {groups[each] for each in set(groups) - fitted}
        assert inside.isdisjoint(outside)


def test_synthetic_images_that_help_are_used():
    comparison = compare(real=24, synthetic=made(400))
    trials = comparison.trials(("patchcore",))

    best = comparison.best(trials)

    assert best.recipe.heads.synthetic
    assert best.auroc > max(trial.auroc for trial in trials if not trial.recipe.heads.synthetic)


def test_synthetic_images_that_teach_something_wrong_are_left_out_and_their_figures_shown():
    comparison = compare(synthetic=made(200, axis=8))
    trials = comparison.trials(("patchcore",))

    assert any(trial.recipe.heads.synthetic for trial in trials)
    assert not comparison.best(trials).recipe.heads.synthetic
    assert comparison.best(trials, synthetic="always").recipe.heads.synthetic


def test_a_few_real_defects_do_not_tell_whether_synthetic_ones_help():
    trials = [trial(held_out(40, 1, 5)), trial(held_out(40, 5, 5), Heads(1.0, 0.7, synthetic=True))]

    assert not compare(real=5).best(trials).recipe.heads.synthetic
    assert compare(real=5).best(trials, synthetic="always").recipe.heads.synthetic


def test_every_candidate_is_measured_on_real_images_only():
    comparison = compare(real=8, synthetic=made())

    for trial in comparison.trials(("patchcore",)):
        assert len(trial.scores.defects) == 8
        assert len(trial.scores.damaged) == 0


@pytest.mark.parametrize("few", [{"real": 8, "groups": 3}, {"real": 3, "damaged": True}])
def test_where_too_few_real_parts_can_be_held_out_nothing_is_learned_from_synthetic_ones(few):
    comparison = compare(synthetic=made(), **few)

    assert {trial.recipe.heads for trial in comparison.trials(("patchcore",))} == {Heads()}


def held_out(good: int, found: int, of: int) -> HeldOut:
    """Scores by which ``found`` of the defects stand above all good images and the others among them."""
    return HeldOut(np.linspace(0, 1, good), np.zeros(0), np.r_[np.full(found, 2.0), np.linspace(0.2, 0.8, of - found)])


def trial(scores: HeldOut, heads: Heads = Heads()) -> Trial:  # noqa: B008
    area = float((np.sign(scores.defects[:, None] - scores.good) / 2 + 0.5).mean())
    return Trial(Candidate("patchcore", True, heads), scores, scores.good, 0.0, 1.0, 0.0, area, area)


@pytest.mark.parametrize(("found", "kept"), [(11, False), (12, False), (18, True)])
def test_one_defect_more_may_be_chance_and_many_are_not(found, kept):
    trials = [trial(held_out(40, 10, 20)), trial(held_out(40, found, 20), Heads(1.0, 0.7, synthetic=True))]

    assert compare().best(trials).recipe.heads.synthetic == kept


# ------------------------------------------------------------------ the image head


def test_an_image_head_tells_defective_images_from_good_ones_it_has_not_seen():
    rng = np.random.default_rng(3)
    good, bad = ([make(rng).patches for _ in range(60)] for make in (good_sample, bad_sample))

    head = ImageHead.fit(good[:40], bad[:40], (), VALID, blend_weight=0.7)

    chances = [[head.probability(each, VALID) for each in images[40:]] for images in (good, bad)]
    assert np.median(chances[0]) < 0.5 < np.median(chances[1])
    assert all(1 <= head.factor(each, VALID) <= np.exp(0.7) for each in (*good, *bad))


def test_few_real_images_weigh_as_much_as_many_synthetic_ones():
    """Given many synthetic images unlike the few real ones, then the head knows the real ones all the same."""
    rng = np.random.default_rng(3)
    good = [good_sample(rng).patches for _ in range(40)]
    real, made = [bad_sample(rng).patches for _ in range(4)], [bad_sample(rng, axis=2).patches for _ in range(200)]

    head = ImageHead.fit(good, real, made, VALID, blend_weight=0.7)

    assert min(head.probability(each, VALID) for each in real) > 0.5


@pytest.mark.parametrize("arrays", [{"weights": np.zeros((3, 3)), "trust": np.array(1.0)}, {"weights": np.zeros(2)}])
def test_arrays_of_no_image_head_are_refused(arrays):
    with pytest.raises((ValueError, KeyError)):
        ImageHead.from_arrays(arrays)


# ------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Good parts, real blots and made ones."""
    folder = tmp_path_factory.mktemp("parts")
    places = [(70, 40), (30, 30), (40, 72), (66, 66), (24, 50), (50, 22)]
    return {
        "good": write_images(folder / "good", [render_part(seed) for seed in range(10)]),
        "real": write_images(folder / "real", [render_part(50 + n, blot=at) for n, at in enumerate(places)]),
        "made": write_images(folder / "made", [render_part(n, blot=at) for n, at in enumerate(places)]),
    }


def origins(parts: dict[str, list[Path]]) -> dict[Path, list[str]]:
    return {path: [file_digest(parts["good"][number])] for number, path in enumerate(parts["made"])}


def test_too_few_real_defects_leave_the_model_as_it_is_without_synthetic_ones(parts):
    alone = train(parts["good"], defects=parts["real"][:2], options=QUICK)
    together = train(
        parts["good"], defects=[*parts["real"][:2], *parts["made"]], synthetic=origins(parts), options=QUICK
    )

    image = render_part(7, blot=(70, 40))
    assert together.inspect(image).score == alone.inspect(image).score
    assert together.card.synthetic_images == 0
    assert "2 real defects are too few" in together.card.synthetic_basis
    assert together.card.training_manifest_sha256 == alone.card.training_manifest_sha256


def test_the_card_counts_real_and_synthetic_images_apart(parts):
    model = train(
        parts["good"],
        defects=[*parts["real"], *parts["made"]],
        masks={path: np.eye(96, dtype=np.uint8) for path in (*parts["real"], *parts["made"])},
        synthetic=origins(parts),
        options=QUICK.model_copy(update={"synthetic": "always"}),
    )

    assert (model.card.defect_images, model.card.masked_images, model.card.synthetic_images) == (6, 6, 6)
    assert model.card.synthetic_basis.startswith("used: AUROC")
    assert "6 real defects" in model.card.synthetic_basis
    assert any(entry.chosen and "synthetic" in entry.name for entry in model.card.leaderboard)
    assert model.card.leaderboard_basis == "10 good images and 6 labelled defects, held out by turns"


def test_a_model_with_an_image_head_gives_the_same_numbers_once_stored(parts):
    model = train(
        parts["good"],
        defects=[*parts["real"], *parts["made"]],
        synthetic=origins(parts),
        options=QUICK.model_copy(update={"synthetic": "always"}),
    )

    assert model.scorer.image_head is not None
    again = load_model(model.to_bytes())
    for image in (render_part(80), render_part(81, blot=(70, 40))):
        assert again.inspect(image).score == pytest.approx(model.inspect(image).score, rel=1e-6)


def test_a_dataset_says_what_its_synthetic_images_were_made_from(parts):
    records = [ImageRecord(path, "normal") for path in parts["good"]]
    records += [ImageRecord(path, "anomaly", ("blot",)) for path in parts["real"]]
    made_from = origins(parts)
    records += [
        ImageRecord(path, "anomaly", ("smear",), synthetic=True, made_from=tuple(made_from[path]))
        for path in parts["made"]
    ]
    (invented,) = write_images(parts["made"][0].parent / "good", [render_part(99)])
    records.append(ImageRecord(invented, "normal", synthetic=True))
    dataset = Dataset(tuple(records), parts["good"][0].parent)

    model = train_dataset(dataset, options=QUICK)

    assert (model.card.good_images, model.card.defect_images) == (10, 6)
    assert model.card.synthetic_basis


@pytest.mark.parametrize(("decision", "used"), [("kept", 6), ("dropped", 0)])
def test_what_the_gate_kept_is_learned_from(parts, decision, used):
    """Given synthetic images that training by itself sees no use in, then the gate's word counts for more."""
    made_from = origins(parts)
    records = [ImageRecord(path, "normal") for path in parts["good"]]
    records += [ImageRecord(path, "anomaly") for path in parts["real"]]
    records += [
        ImageRecord(path, "anomaly", synthetic=True, made_from=tuple(made_from[path])) for path in parts["made"]
    ]
    dataset = Dataset(tuple(records), parts["good"][0].parent, notes={"gate": {"decision": decision}})

    model = train_dataset(dataset, options=QUICK)

    assert model.card.synthetic_images == used
