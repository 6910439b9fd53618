"""Class lists: a preset of just the classes that somebody names, put together from those that are there."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from defectory.detection.layouts.presets import Preset, RareEvent, load_preset, preset_names
from defectory.errors import InputError


def preset_of_classes(names: Sequence[str]) -> Preset:
    """A world of just these classes, with what the presets say of them and of how they go together.

    Light, cameras, places and rare events are those of the preset that has most of the classes.  Who wears a class that
    is asked for is drawn, and labelled only if asked for as well.

    Args:
        names: classes of the presets; their order is that of class ids, worn ones last.

    Raises:
        InputError: none, one twice, or one that no preset has.

    >>> preset_of_classes(["tote", "hard_hat"]).labels
    ('tote', 'hard_hat')
    """
    presets = [load_preset(name) for name in preset_names()]
    plans = {name: plan for preset in presets for name, plan in preset.classes.items() if not plan.context}
    worn = {relation.label: relation for preset in presets for relation in preset.wears}
    if not names or len(set(names)) < len(names):
        raise InputError("classes", "one or more different ones", ", ".join(names))
    if unknown := [name for name in names if name not in plans and name not in worn]:
        fix = "Write a preset for others, as `docs/detection.md` says, and give cut-outs of them."
        raise InputError("classes", f"of {', '.join([*plans, *worn])}", unknown[0], fix)
    classes = {name: plans[name] for name in names if name in plans}
    wears = tuple(worn[name] for name in names if name in worn)
    for relation in wears:
        classes.setdefault(relation.wearer, plans[relation.wearer].model_copy(update={"context": True}))
    like = max(presets, key=lambda preset: len({*preset.labels} & {*names}))
    beside = [rule for preset in presets for rule in preset.beside if {rule.label, rule.of} <= {*classes}]
    together = [rule for preset in presets for rule in preset.together if {rule.label, rule.present} <= {*classes}]
    events = [_narrow(event, classes, {rule.label for rule in wears}) for event in like.events]
    return Preset(
        name="own",
        title=", ".join(names).replace("_", " "),
        classes=classes,
        wears=wears,
        beside=tuple(beside),
        together=tuple(together),
        events=tuple(event for event in events if event is not None),
        **{name: getattr(like, name) for name in _SHARED},
    )


_SHARED = ("backgrounds", "light", "camera", "occlusion", "view", "empty", "truncated")


def _narrow(event: RareEvent, classes: Collection[str], worn: Collection[str]) -> RareEvent | None:
    """What of an event is about these classes; None of one that is about others alone."""
    number = {name: count for name, count in event.number.items() if name in classes}
    if event.number and not number:
        return None
    wears = {name: share for name, share in event.wears.items() if name in worn}
    tilted = tuple(name for name in event.tilted if name in classes)
    return event.model_copy(update={"number": number, "wears": wears, "tilted": tilted})
