"""Checkpoints: all that a training needs to go on where it stood, without pickle.

    checkpoint-00000500.safetensors   weights, their average and the optimiser's moments; the rest in its header

The newest two are kept: one that was cut off while it was copied is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from defectory.errors import InputError
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

_KEPT = 2
_PATTERN = "checkpoint-*.safetensors"


class Position(FrozenModel):
    """Where a training stands: ``step`` are done, of the run that ``run`` is the fingerprint of.

    ``losses`` are the means of the epochs that are over, ``loss_sum`` and ``loss_count`` of the one that is not;
    ``skipped`` counts steps whose loss was no number.
    """

    run: str
    step: int = 0
    losses: tuple[float, ...] = ()
    loss_sum: float = 0.0
    loss_count: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """What changes while training: the model, the average of its weights, and the optimiser."""

    model: Any
    average: Any
    optimiser: Any
    parts: tuple[str, ...] = field(default=("model", "average"), init=False)

    def tensors(self) -> dict[str, Any]:
        """All of it as tensors by name."""
        tensors = {
            f"{part}.{name}": value for part in self.parts for name, value in getattr(self, part).state_dict().items()
        }
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in moments.items()}
        # Those that share memory are written apart.
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}

    def restore(self, tensors: Mapping[str, Any]) -> None:
        """Take what ``tensors`` gave.

        Raises:
            RuntimeError: they are of another network.
        """
        for part in self.parts:
            prefix = f"{part}."
            own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            getattr(self, part).load_state_dict(own)
        moments: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimiser":
                number, _, moment = rest.partition(".")
                moments.setdefault(int(number), {})[moment] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})


def write_checkpoint(folder: Path, state: TrainingState, position: Position) -> Path:
    """Write a checkpoint, whole or not at all, and remove those before the one before it.

    Raises:
        UnwritableError: it cannot be written.
    """
    path = folder / f"checkpoint-{position.step:08d}.safetensors"
    with writing_to(path, field="checkpoints"):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, save(state.tensors(), {"position": position.model_dump_json()}))
        for old in sorted(folder.glob(_PATTERN))[:-_KEPT]:
            old.unlink()
    return path


def read_checkpoint(folder: Path, state: TrainingState, run: str) -> Position:
    """Go on from the newest whole checkpoint of the folder; without one, from the beginning.

    Args:
        folder: may not be there.
        state: takes what the checkpoint has.
        run: fingerprint of the run.

    Raises:
        InputError: the checkpoints are of another run.
    """
    for path in sorted(folder.glob(_PATTERN), reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                position = Position.model_validate(json.loads((file.metadata() or {}).get("position", "{}")))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (SafetensorError, ValueError, OSError):
            continue
        if position.run != run:
            fix = "Its options, images or weights differ; empty the folder, or name another."
            raise InputError("checkpoints", "a folder of this training's own checkpoints", str(path), fix)
        state.restore(tensors)
        return position
    return Position(run=run)
