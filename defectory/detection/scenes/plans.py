"""Plans: which layouts scenes are composed of, looked through before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from defectory.detection.layouts.presets import Preset
from defectory.detection.layouts.records import Split, parse_layout, read_layout_lines
from defectory.detection.layouts.sampler import sample_chunks
from defectory.errors import InputError


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """Layouts: ``lines()`` gives them with their numbers, ``classes`` are labelled, ``sizes`` are their canvases."""

    lines: Callable[[], Iterator[tuple[int, bytes]]]
    count: int
    classes: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]


def plan_preset(preset: Preset, count: int, *, seed: int, split: Split, size: tuple[int, int]) -> ScenePlan:
    """``count`` layouts of a preset; see `sample_chunks`."""

    def lines() -> Iterator[tuple[int, bytes]]:
        chunks = sample_chunks(preset, count, seed=seed, split=split, size=size)
        return enumerate((line for chunk in chunks for line in chunk.lines.splitlines()), 1)

    return ScenePlan(lines, count, preset.labels, (size,))


def plan_file(file: Path, count: int | None = None) -> ScenePlan:
    """The layouts of a file, or the first ``count``; all that they ask for is labelled.

    A line that is no layout is passed by: composing reports it.

    Raises:
        InputError: the file cannot be read, or no line of it is a layout.
    """
    labels: dict[str, None] = {}
    sizes: dict[tuple[int, int], None] = {}
    total, reason = 0, None
    for number, line in islice(read_layout_lines(file), count):
        total += 1
        try:
            layout = parse_layout(line, f"line {number}")
        except InputError as error:
            reason = reason or error
            continue
        labels |= dict.fromkeys(item.label for item in layout.objects)
        sizes[layout.size] = None
    if not sizes:
        raise reason or InputError("layouts", "a file with a layout a line", str(file), "`--schema` says what one is.")
    return ScenePlan(lambda: islice(read_layout_lines(file), count), total, tuple(labels), tuple(sizes))
