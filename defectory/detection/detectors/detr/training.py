"""Train D-FINE or RF-DETR: one loop for both, over the losses of their library.

Each step hangs on the seed and its number alone, so a training that was interrupted and goes on from a checkpoint ends
where it would have ended without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from defectory.errors import DefectoryError, FailureKind, InputError, require_extra

require_extra("torch")

import torch  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402

from defectory.datasets.boxes import BoxProblem, refuse  # noqa: E402
from defectory.detection.detectors.card import DetectorCard  # noqa: E402
from defectory.detection.detectors.detector import Detector, assemble  # noqa: E402
from defectory.detection.detectors.detr.architectures import Network, build_network  # noqa: E402
from defectory.detection.detectors.detr.batches import Batch, BatchPlan, load_batches  # noqa: E402
from defectory.detection.detectors.detr.checkpoints import (  # noqa: E402
    Position,
    TrainingState,
    read_checkpoint,
    write_checkpoint,
)
from defectory.detection.detectors.detr.export import describe_output, export  # noqa: E402
from defectory.detection.detectors.detr.options import DetrKind, DetrOptions  # noqa: E402
from defectory.detection.detectors.held_out import calibrate_detector, describe_images, split_images  # noqa: E402
from defectory.detection.detectors.samples import TrainingImages  # noqa: E402
from defectory.detection.labelled import LabelledSet  # noqa: E402
from defectory.progress import OnProgress, Progress, ignore_progress  # noqa: E402

_MOST_SKIPPED = 10
_RANDOM = "The network started at random; weights that were trained on other images would need fewer of these."


class InterruptedTrainingError(DefectoryError):
    """A training was told to end, and left a checkpoint to go on from."""

    code = "TrainingInterrupted"
    kind = FailureKind.TRANSIENT


def train_detr(
    kind: DetrKind,
    sets: Sequence[LabelledSet],
    options: DetrOptions | None = None,
    *,
    weights: Path | None = None,
    checkpoints: Path | None = None,
    on_problem: Callable[[BoxProblem], None] = refuse,
    on_progress: OnProgress = ignore_progress,
) -> Detector:
    """Train a detector on labelled images, on a GPU where there is one.

    A sixth of the images is held out to calibrate scores and thresholds on.

    Args:
        kind: ``dfine`` or ``rfdetr``.
        sets: what to learn from; their classes are joined.
        options: how.
        weights: folder of the weights to start from (`build_network`); at random without.
        checkpoints: folder for checkpoints; a training that finds its own there goes on from them.  With it, SIGTERM
            ends the training after the step it is at, with a checkpoint.
        on_problem: hears of each image that cannot be read, and which is left out; by default it is an error.
        on_progress: hears of each step and its loss.

    Raises:
        InputError: there is nothing to learn from, an image cannot be read, the weights do not fit, the checkpoints are
            of another training, or the loss is no number any more.
        InterruptedTrainingError: SIGTERM came, and a checkpoint was written.
        MissingExtraError: torch or transformers are not installed; raised as the module is imported.
    """
    options = options or DetrOptions()
    images = TrainingImages.read(sets)
    split = split_images(len(images), np.random.default_rng(options.seed))
    torch.manual_seed(options.seed)
    network = build_network(kind, images.classes, options, weights)
    plan = BatchPlan(np.sort(split.learned), options)
    training = _Training(network, plan, images, checkpoints, on_problem, on_progress)
    position = training.run(_fingerprint(kind, options, images, network))
    described = describe_images(images, split)
    described["training"] |= {
        "epochs": options.epochs,
        "first_epoch_loss": round(position.losses[0], 4),
        "last_epoch_loss": round(position.losses[-1], 4),
        "skipped_steps": position.skipped,
        "weights": f"sha256:{network.weights}" if network.weights else "random",
    }
    described["warnings"] += (*network.warnings, *(() if network.weights else (_RANDOM,)))
    card = DetectorCard(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        kind=kind,
        **described,
        input=network.input,
        output=describe_output(images.classes),
        backbone=network.backbone,
        license=options.weights_license,
        dataset=", ".join(labelled.root.name for labelled in sets),
        seed=options.seed,
    )
    detector = assemble(card, export(training.state.average.module, network.input))
    return calibrate_detector(
        detector, images, split, options.precision, on_problem=on_problem, on_progress=on_progress
    )


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """The share of the highest learning rate that a step has: a straight rise, then half a cosine down to nothing.

    Args:
        step: from 0 on.
        steps: how many there are.
        warmup: share of them that it rises over.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), without restarts.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))


def average_weights(decay: float) -> Callable[[Any, Any, Any], Any]:
    """How `AveragedModel` moves an average: by ``decay``, less while there have been few; counters are copied."""

    def average(old: Any, new: Any, count: Any) -> Any:  # noqa: ANN401
        if not old.is_floating_point():
            return new
        return old.lerp(new, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return average


class _Training:
    def __init__(
        self,
        network: Network,
        plan: BatchPlan,
        images: TrainingImages,
        checkpoints: Path | None,
        on_problem: Callable[[BoxProblem], None],
        on_progress: OnProgress,
    ) -> None:
        self.network, self.plan, self.images, self.options = network, plan, images, plan.options
        self.checkpoints, self.on_problem, self.on_progress = checkpoints, on_problem, on_progress
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = network.model.to(self.device).train()
        average = AveragedModel(model, avg_fn=average_weights(self.options.ema_decay), use_buffers=True)
        self.state = TrainingState(model, average, torch.optim.AdamW(self._groups(model)))
        self.skipped_in_a_row = 0

    def run(self, run: str) -> Position:
        """All steps that are left; where it stands then."""
        position = read_checkpoint(self.checkpoints, self.state, run) if self.checkpoints else Position(run=run)
        plan = BatchPlan(self.plan.numbers, self.options, begin=position.step)
        steps, per_epoch = len(self.plan), self.plan.steps_per_epoch
        with _ending(self.checkpoints is not None) as is_ending:
            for batch in load_batches(self.images, self.network.input, plan):
                position = self._step(batch, position, steps)
                if position.step % per_epoch == 0:
                    position = self._end_epoch(position)
                due = position.step % self.options.checkpoint_steps == 0 or position.step % per_epoch == 0
                if self.checkpoints and (due or is_ending()):
                    write_checkpoint(self.checkpoints, self.state, position)
                if is_ending() and position.step < steps:
                    raise InterruptedTrainingError(
                        f"The training was ended after {position.step} of {steps} steps. Start it again with the same "
                        f"options and the checkpoints in {self.checkpoints}: it goes on from there."
                    )
        if not position.losses:
            raise self._diverged("in any step")
        return position

    def _diverged(self, how_often: str) -> InputError:
        rule = f"so low that the loss stays a number, which it was not: {how_often}"
        return InputError("learning_rate", rule, self.options.learning_rate, "Try a tenth of it.")

    def _step(self, batch: Batch, position: Position, steps: int) -> Position:
        for problem in batch.problems:
            self.on_problem(problem)
        loss = self._learn(batch, position.step, steps) if batch.labels else math.nan
        changes: dict[str, Any] = {"step": position.step + 1}
        if math.isfinite(loss):
            self.skipped_in_a_row = 0
            changes |= {"loss_sum": position.loss_sum + loss, "loss_count": position.loss_count + 1}
        elif batch.labels:
            self.skipped_in_a_row += 1
            changes["skipped"] = position.skipped + 1
            if self.skipped_in_a_row >= _MOST_SKIPPED:
                raise self._diverged(f"{_MOST_SKIPPED} steps in a row")
        self.on_progress(Progress("training", position.step + 1, steps, f"loss {loss:.4f}"))
        return position.model_copy(update=changes)

    def _learn(self, batch: Batch, step: int, steps: int) -> float:
        """One step of the optimiser; the loss, after one that is no number nothing is changed."""
        model, optimiser = self.state.model, self.state.optimiser
        torch.manual_seed(int(np.random.SeedSequence((self.options.seed, step)).generate_state(1)[0]))
        factor = learning_rate_factor(step, steps, self.options.warmup)
        for group in optimiser.param_groups:
            group["lr"] = group["highest"] * factor
        labels = [{name: value.to(self.device) for name, value in item.items()} for item in batch.labels]
        loss = model(pixel_values=batch.pixels.to(self.device), labels=labels).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.options.clip_norm)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            return math.nan
        optimiser.step()
        self.state.average.update_parameters(model)
        return float(loss)

    def _end_epoch(self, position: Position) -> Position:
        if not position.loss_count and not position.skipped:
            got = f"{len(self.plan.numbers)} images, none of which gave a step"
            raise InputError("DIR", "images that can be read and learned from", got)
        # Of an epoch whose every loss was no number there is no mean.
        mean = (position.loss_sum / position.loss_count,) if position.loss_count else ()
        losses = (*position.losses, *mean)
        return position.model_copy(update={"losses": losses, "loss_sum": 0.0, "loss_count": 0})

    def _groups(self, model: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Parameters by learning rate and decay: what was trained before moves less, scales and biases do not decay."""
        groups: dict[tuple[float, float], list[Any]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                is_trained = bool(self.network.weights) and self.network.is_backbone(name)
                rate = self.options.learning_rate * (self.options.backbone_factor if is_trained else 1)
                decay = self.options.weight_decay if parameter.ndim > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": rate, "highest": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ]


def _fingerprint(kind: DetrKind, options: DetrOptions, images: TrainingImages, network: Network) -> str:
    """Of all that decides what each step does."""
    free = {"workers", "checkpoint_steps", "precision", "weights_license"}
    content = hashlib.sha256()
    for values in (images.sizes, images.ends, images.labels, images.numbers):
        content.update(values.tobytes())
    parts = [
        *(kind, options.model_dump(mode="json", exclude=free), images.classes),
        *(images.digests, [Path(path).name for path in images.paths], content.hexdigest(), network.weights),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _ending(is_listening: bool) -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM changes what the yielded function says, and nothing else."""
    came = threading.Event()
    if not is_listening or threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
