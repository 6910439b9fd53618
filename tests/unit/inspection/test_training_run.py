"""The decisions of the training machine: prepare a run, judge its model, verify the endpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.aws.hosted_model import HostedVersion
from defectory.errors import InputError
from defectory.inspection.gate import Figures, GateRules, ModelComparison, judge
from defectory.inspection.training_run import INSPECTION, DeploymentError, EndpointKind, decide, prepare, verify
from defectory.line.endpoint import PAYLOAD_LIMIT
from defectory.line.payload import fit_payload
from defectory.vision.images import encode_jpeg, encode_png

PHOTO = encode_jpeg(np.full((40, 60, 3), 90, np.uint8))
STARTED = datetime(2026, 11, 21, 15, 4, 5, 678_900, tzinfo=UTC)


def figures(version: str = "new", *, auroc: float | None = 0.97, escapes: int = 1, overkill: int = 2) -> Figures:
    return Figures(
        model_version=version, normal=100, anomalous=50, auroc=auroc, escapes=escapes, overkill=overkill, review=3
    )


@dataclass
class FakeStorage:
    files: dict[str, bytes]
    name: str = "parts"

    def images(self, prefix: str) -> list[str]:
        return sorted(key for key in self.files if key.startswith(prefix))

    def read(self, key: str) -> bytes:
        return self.files[key]

    def read_from_archive(self, uri: str, name: str) -> bytes:
        return self.files[f"{uri}!{name}"]


@dataclass
class FakeHosting:
    serving: HostedVersion | None = None
    answer: bytes = b"{}"
    asked: list[tuple[bytes, str]] = field(default_factory=list)

    def current(self) -> HostedVersion | None:
        return self.serving

    def ask(self, image: bytes, content_type: str) -> bytes:
        self.asked.append((image, content_type))
        return self.answer


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage(
        {
            "datasets/boards/normal/1.png": b"",
            "test/labels.csv": b"",
            "test/normal/a b.JPG": PHOTO,
            "test/normal/c.png": b"a png",
        }
    )


def buckets(storage: FakeStorage) -> dict[str, Any]:
    """One bucket for all, of inspection."""
    return {"trained": INSPECTION, "datasets": storage, "storage": storage}


class TestGate:
    def test_the_first_model_passes_when_it_reaches_the_minimum(self) -> None:
        assert judge(ModelComparison(candidate=figures(), test_digest="t"), GateRules()).accepted

    def test_the_first_model_is_stopped_below_the_minimum(self) -> None:
        judgement = judge(ModelComparison(candidate=figures(auroc=0.7), test_digest="t"), GateRules())
        assert not judgement.accepted
        assert judgement.reasons == ("AUROC 0.7000 is below the minimum of 0.8000.",)

    def test_a_better_model_passes_and_says_both_figures(self) -> None:
        comparison = ModelComparison(candidate=figures(), current=figures("old", auroc=0.9, escapes=5), test_digest="t")
        judgement = judge(comparison, GateRules())
        assert judgement.accepted
        assert any("old" in reason and "0.9000" in reason for reason in judgement.reasons)

    def test_what_changed_in_the_dataset_is_told(self) -> None:
        comparison = ModelComparison(candidate=figures(), test_digest="t", changes=("3 images relabelled",))
        assert "Dataset: 3 images relabelled" in judge(comparison, GateRules()).reasons

    @pytest.mark.parametrize(
        ("worse", "said"),
        [
            ({"auroc": 0.95}, "AUROC falls from 0.9700 to 0.9500"),
            ({"escapes": 3}, "3 escapes and 2 false rejects"),
            ({"overkill": 6}, "1 escapes and 6 false rejects"),
        ],
    )
    def test_a_worse_model_is_stopped_with_the_reason(self, worse: dict, said: str) -> None:
        comparison = ModelComparison(candidate=figures(**worse), current=figures("old"), test_digest="t")
        judgement = judge(comparison, GateRules())
        assert not judgement.accepted
        assert said in " ".join(judgement.reasons)

    def test_images_trained_on_prove_nothing(self) -> None:
        comparison = ModelComparison(candidate=figures(), test_digest="t", trained_on_test=("normal/1.png",))
        judgement = judge(comparison, GateRules())
        assert not judgement.accepted
        assert "normal/1.png" in judgement.reasons[0]

    def test_without_images_nothing_is_proved_either(self) -> None:
        nothing = Figures(model_version="x", normal=0, anomalous=0, auroc=None, escapes=0, overkill=0, review=0)
        assert not judge(ModelComparison(candidate=nothing, test_digest="t"), GateRules()).accepted

    def test_good_images_alone_are_judged_by_false_rejects(self) -> None:
        old = figures("old", auroc=None)
        assert judge(ModelComparison(candidate=figures(auroc=None), current=old, test_digest="t"), GateRules()).accepted
        worse = figures(auroc=None, overkill=9)
        assert not judge(ModelComparison(candidate=worse, current=old, test_digest="t"), GateRules()).accepted

    @given(st.floats(0.8, 1), st.integers(0, 50), st.integers(0, 100))
    def test_an_equal_model_always_passes(self, auroc: float, escapes: int, overkill: int) -> None:
        same = [figures(name, auroc=auroc, escapes=escapes, overkill=overkill) for name in ("new", "old")]
        assert judge(
            ModelComparison(candidate=same[0], current=same[1], test_digest="t"), GateRules(tolerance=0)
        ).accepted

    @pytest.mark.parametrize(
        ("auroc", "accepted"),
        [(1.0, True), (0.9375, True), (0.875, True), (0.8749, False), (0.8125, False)],
    )
    def test_ranking_may_fall_by_the_tolerance_and_no_further(self, auroc: float, accepted: bool) -> None:
        comparison = ModelComparison(candidate=figures(auroc=auroc), current=figures("old", auroc=1.0), test_digest="t")
        assert judge(comparison, GateRules(tolerance=0.125)).accepted is accepted

    @pytest.mark.parametrize(("auroc", "accepted"), [(0.97, True), (0.966, True), (0.964, False)])
    def test_where_nothing_is_said_ranking_may_fall_by_half_a_hundredth(self, auroc: float, accepted: bool) -> None:
        comparison = ModelComparison(candidate=figures(auroc=auroc), current=figures("old"), test_digest="t")
        assert judge(comparison, GateRules()).accepted is accepted

    @pytest.mark.parametrize(
        ("escapes", "overkill", "accepted"), [(1, 2, True), (4, 2, True), (2, 4, True), (5, 2, False), (1, 6, False)]
    )
    def test_a_share_of_the_images_may_be_misjudged_more_and_no_more(
        self, escapes: int, overkill: int, accepted: bool
    ) -> None:
        # The current model misjudges 3; 0.02 of 150 images are 3 more.
        candidate = figures(escapes=escapes, overkill=overkill)
        comparison = ModelComparison(candidate=candidate, current=figures("old"), test_digest="t")
        assert judge(comparison, GateRules(tolerance=0.02)).accepted is accepted


class TestPrepare:
    def test_a_first_run(self, storage: FakeStorage) -> None:
        run = prepare(
            {"dataset": "datasets/boards/", "options": {"seed": 3}},
            STARTED,
            prefix="factory-inspection",
            kind="serverless",
            **buckets(storage),
            hosting=FakeHosting(),
        )
        assert run.name == "factory-inspection-20261121T150405678"
        assert (run.dataset, run.test) == ("s3://parts/datasets/boards/", "s3://parts/test/")
        assert json.loads(run.options) == {"seed": 3}
        assert not run.endpoint_exists
        assert run.current == ""

    def test_a_later_run_knows_what_is_in_service(self, storage: FakeStorage) -> None:
        hosting = FakeHosting(HostedVersion("config-1", "s3://parts/models/1/model.tar.gz", "serverless"))
        request = {"dataset": "datasets/boards/"}
        run = prepare(request, STARTED, prefix="x", kind="serverless", **buckets(storage), hosting=hosting)
        assert run.endpoint_exists
        assert (run.current_config, run.current) == ("config-1", "s3://parts/models/1/model.tar.gz")

    @pytest.mark.parametrize(
        ("was", "becomes", "refused"),
        [
            ("realtime", "serverless", True),
            ("realtime", "realtime", False),
            ("serverless", "realtime", False),
            ("serverless", "serverless", False),
            ("lambda", "lambda", False),
        ],
    )
    def test_what_sagemaker_cannot_convert_is_refused_before_anything_is_trained(
        self, storage: FakeStorage, was: EndpointKind, becomes: EndpointKind, refused: bool
    ) -> None:
        hosting = FakeHosting(HostedVersion("config-1", "s3://parts/models/1/model.tar.gz", was))
        request = {"dataset": "datasets/boards/"}
        try:
            prepare(request, STARTED, prefix="line", kind=becomes, **buckets(storage), hosting=hosting)
        except InputError as error:
            assert refused
            assert error.field == "inspection_endpoint"
            assert "delete-endpoint --endpoint-name line" in error.fix
            assert "inspection_endpoint=realtime" in error.fix
        else:
            assert not refused

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            ({}, "dataset"),
            ({"dataset": "datasets/boards"}, "dataset"),
            ({"dataset": "../"}, "dataset"),
            ({"dataset": "datasets/none/"}, "dataset"),
            ({"dataset": "datasets/boards/", "test": "elsewhere/"}, "test"),
            ({"dataset": "test/normal/"}, "test"),
            ({"dataset": "datasets/boards/", "tset": "test/"}, "tset"),
            ({"dataset": "datasets/boards/", "gate": {"tolerance": 3}}, "gate.tolerance"),
            ({"dataset": "datasets/boards/", "gate": {"luck": 3}}, "gate.luck"),
        ],
    )
    def test_a_wrong_request_is_refused_by_field(self, storage: FakeStorage, request_: dict, field: str) -> None:
        with pytest.raises(InputError) as refusal:
            prepare(request_, STARTED, prefix="x", kind="serverless", **buckets(storage), hosting=FakeHosting())
        assert refusal.value.field == field


def test_deciding_reads_what_the_evaluation_left() -> None:
    outcome = decide(ModelComparison(candidate=figures(), test_digest="abc").model_dump_json().encode(), {})

    assert outcome.accepted
    assert outcome.model_version == outcome.metadata["model_version"] == "new"
    assert outcome.metadata["test_set"] == "abc"
    assert outcome.metadata["escapes"] == "1 of 50"


def test_an_evaluation_of_another_form_is_an_error() -> None:
    with pytest.raises(InputError, match=r"evaluation\.json, candidate"):
        decide(b'{"candidate": {}}', {})


def test_the_endpoint_is_verified_with_an_image_of_the_test_set(storage: FakeStorage) -> None:
    hosting = FakeHosting(answer=b'{"model_version": "new"}')
    verify("s3://parts/test/", "new", storage=storage, hosting=hosting)
    assert hosting.asked == [(PHOTO, "image/jpeg")]


def test_an_image_that_is_too_large_for_the_endpoint_is_made_smaller_as_the_line_does(storage: FakeStorage) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (1400, 1400, 3), np.uint8)
    storage.files["test/normal/0.png"] = encode_png(noise)
    assert len(storage.files["test/normal/0.png"]) > 5_500_000
    hosting = FakeHosting(answer=b'{"model_version": "new"}')

    verify("s3://parts/test/", "new", storage=storage, hosting=hosting)

    [(content, content_type)] = hosting.asked
    assert (len(content) <= PAYLOAD_LIMIT, content_type) == (True, "image/jpeg")
    assert content == fit_payload(storage.files["test/normal/0.png"], noise).content


@pytest.mark.parametrize("answer", [b'{"model_version": "old"}', b"{}", b"[]", b"<html>"])
def test_an_endpoint_that_answers_otherwise_is_an_error(storage: FakeStorage, answer: bytes) -> None:
    with pytest.raises(DeploymentError):
        verify("s3://parts/test/", "new", storage=storage, hosting=FakeHosting(answer=answer))
