"""Rules of safety, by worked examples on an image of 200 x 100 pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from defectory.detection.detectors.detector import Detection
from defectory.detection.rules import Alert, RuleWatch, SafetyRules, load_safety_rules
from defectory.errors import InputError

WIDTH, HEIGHT = 200, 100
LEFT_HALF = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


def thing(label: str, left: float, top: float, width: float, height: float, score: float = 0.9) -> Detection:
    return Detection(label=label, score=score, box=(left, top, width, height))


def person(left: float, *, height: float = 60, score: float = 0.9) -> Detection:
    """Stands on row 90; 20 wide."""
    return thing("person", left, 90 - height, 20, height, score)


def hat(left: float, top: float = 30) -> Detection:
    """On the head of a person whose box begins at ``left``."""
    return thing("hard_hat", left + 5, top, 10, 6)


def rules(zones: dict | None = None, **rule: object) -> SafetyRules:
    content = {"name": "hats", "label": "person", **rule}
    return SafetyRules.model_validate({"zones": zones or {}, "rules": [content]})


def alerts(given: SafetyRules, *detections: Detection) -> tuple[Alert, ...]:
    return given.broken(detections, WIDTH, HEIGHT)


HATS = rules(required=["hard_hat"])


def test_who_lacks_what_is_required_is_told_with_the_box() -> None:
    bare, covered = person(20), person(100)

    [alert] = alerts(HATS, bare, covered, hat(100))

    assert (alert.box, alert.missing, alert.present) == (bare.box, ("hard_hat",), ())
    assert alert.describe() == "hats: person without hard_hat"
    assert alerts(HATS, covered, hat(100)) == ()
    assert alerts(HATS) == ()


def test_one_hat_covers_one_head() -> None:
    """The hat of the person at 30 lies inside the box of the person at 22, too."""
    bare, covered = person(22), person(30)
    for order in ([bare, covered], [covered, bare]):
        assert [alert.box for alert in alerts(HATS, *order, hat(30))] == [bare.box]


@pytest.mark.parametrize(("left", "is_on"), [(95, True), (100, True), (90, True), (89, False), (130, False)])
def test_an_item_belongs_to_whom_it_is_inside_of_by_half(left: float, is_on: bool) -> None:
    """A hat is 10 wide and begins at left + 5; the person reaches from 100 to 120."""
    assert (alerts(HATS, person(100), hat(left)) == ()) is is_on


def test_each_of_several_required_classes_is_asked_for() -> None:
    both = rules(required=["hard_hat", "safety_vest"])
    [alert] = alerts(both, person(20), hat(20))
    assert alert.missing == ("safety_vest",)
    [alert] = alerts(both, person(20))
    assert alert.describe() == "hats: person without hard_hat or safety_vest"


def test_who_has_what_is_forbidden_is_told() -> None:
    phones = rules(forbidden=["phone"])
    [alert] = alerts(phones, person(20), person(80), thing("phone", 25, 50, 4, 6))
    assert (alert.box, alert.describe()) == (person(20).box, "hats: person with phone")


def test_a_rule_of_one_class_forbids_its_presence() -> None:
    spills = rules({"aisle": LEFT_HALF}, name="dry floor", label="spill", zone="aisle")
    here, there = thing("spill", 20, 80, 30, 10), thing("spill", 140, 80, 30, 10)
    [alert] = alerts(spills, here, there)
    assert (alert.box, alert.describe()) == (here.box, "dry floor: spill in zone aisle")


@pytest.mark.parametrize(
    ("left", "is_in"), [(20, True), (89, True), (90, True), (91, False)], ids=["in", "near", "on-the-edge", "beyond"]
)
def test_an_object_is_where_it_stands(left: float, is_in: bool) -> None:
    """The foot of a person is 10 to the right of left; the zone ends at 100."""
    assert bool(alerts(rules({"A": LEFT_HALF}, zone="A"), person(left))) is is_in


def test_who_is_cut_off_by_an_edge_stands_on_it() -> None:
    """The last two have their middle five pixels beyond the left and the right edge."""
    for half, cut_off in (
        (LEFT_HALF, thing("person", 40, 60, 20, 47)),
        (LEFT_HALF, person(-15)),
        ([[0.5, 0], [1, 0], [1, 1], [0.5, 1]], person(195)),
    ):
        assert alerts(rules({"A": half}, zone="A"), cut_off)


def test_a_zone_has_an_end_upwards_and_downwards() -> None:
    """A person stands on row 90, the other on row 40; the zone reaches from row 30 to row 50."""
    band = rules({"A": [[0, 0.3], [1, 0.3], [1, 0.5], [0, 0.5]]}, zone="A")
    near, far = person(20), thing("person", 100, 10, 10, 30)
    assert [alert.box for alert in alerts(band, near, far)] == [far.box]


def test_zones_may_be_hollow() -> None:
    """A U: between its legs nobody is inside."""
    shape = [[0, 0], [1, 0], [1, 1], [0.7, 1], [0.7, 0.5], [0.3, 0.5], [0.3, 1], [0, 1]]
    inside = [bool(alerts(rules({"U": shape}, zone="U"), person(left))) for left in (20, 90, 160)]
    assert inside == [True, False, True]


def test_what_is_small_or_doubtful_is_passed_over() -> None:
    assert len(alerts(rules(min_size=0.5), person(20, height=50), person(60, height=49))) == 1
    # 100 of 200 wide, or 50 of 100 high: the larger share counts.
    assert len(alerts(rules(min_size=0.5), thing("person", 0, 80, 100, 9), thing("person", 0, 80, 99, 9))) == 1
    assert len(alerts(rules(min_score=0.6), person(20, score=0.6), person(60, score=0.59))) == 1


def test_a_hat_counts_for_its_owner_however_small_that_one_is() -> None:
    """Passing somebody over does not give the hat to a neighbour."""
    near, far = person(22, height=60), person(30, height=59)
    assert [alert.box for alert in alerts(rules(required=["hard_hat"], min_size=0.6), near, far, hat(30, 31))] == [
        near.box
    ]


def test_frames_in_a_row_are_counted_and_one_good_frame_ends_it() -> None:
    watch = RuleWatch(rules(required=["hard_hat"], min_frames=3))
    bad, good = (person(20),), (person(20), hat(20))
    counted = []
    for frame in (bad, bad, good, bad, bad, bad, bad, good):
        counted.append([alert.frames for alert in watch.see(frame, WIDTH, HEIGHT)])
    assert counted == [[], [], [], [], [], [3], [4], []]


def test_each_rule_counts_for_itself() -> None:
    content = [{"name": "a", "label": "person", "min_frames": 2}, {"name": "b", "label": "spill"}]
    watch = RuleWatch(SafetyRules.model_validate({"rules": content}))
    first = watch.see([person(20), thing("spill", 0, 80, 9, 9)], WIDTH, HEIGHT)
    second = watch.see([person(20)], WIDTH, HEIGHT)
    assert ([alert.rule for alert in first], [alert.rule for alert in second]) == (["b"], ["a"])


def test_rules_come_from_yaml_and_json(tmp_path: Path) -> None:
    content = {"zones": {"A": LEFT_HALF}, "rules": [{"name": "hats", "label": "person", "zone": "A"}]}
    (tmp_path / "rules.json").write_text(json.dumps(content))
    (tmp_path / "rules.yaml").write_text(
        "zones:\n  A: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\nrules:\n  - {name: hats, label: person, zone: A}\n"
    )
    assert load_safety_rules(tmp_path / "rules.json") == load_safety_rules(tmp_path / "rules.yaml")
    assert load_safety_rules(tmp_path / "rules.json") == SafetyRules.model_validate(content)


RULE = "{name: a, label: person}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [", "YAML or JSON"),
        ("[]", "rules"),
        ("rules: []", "at least 1"),
        ("rules: [{name: a, label: person, sice: 1}]", r"rules\.0\.sice"),
        ("rules: [{name: a, label: person, zone: B}]", "one of the zones"),
        ("rules: [{name: a, label: person, required: [person]}]", "each class once"),
        ("rules: [{name: a, label: person, required: [x], forbidden: [x]}]", "each class once"),
        ("rules: [{name: a, label: person, min_frames: 0}]", "min_frames"),
        (f"rules: [{RULE}, {RULE}]", "different names"),
        (f"zones: {{A: [[0, 0], [1, 1]]}}\nrules: [{RULE}]", r"zones\.A"),
        (f"zones: {{A: [[0, 0], [1, 1], [0.5, 0.5]]}}\nrules: [{RULE}]", r"zones\.A.*enclose"),
        (f"zones: {{A: [[0, 0], [10, 0], [0, 10]]}}\nrules: [{RULE}]", r"zones\.A"),
        (f"zones: {{A: [[0, 0], [.nan, 0], [0, 1]]}}\nrules: [{RULE}]", r"zones\.A"),
    ],
)
def test_what_is_no_rule_is_refused_by_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_safety_rules(file)


def test_a_rule_has_a_name_of_a_hundred_letters_at_most() -> None:
    assert rules(name="n" * 100).rules[0].name
    with pytest.raises(ValueError, match="at most 100"):
        rules(name="n" * 101)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        load_safety_rules(tmp_path / "none.yaml")


def test_classes_that_the_detector_does_not_know_are_refused() -> None:
    HATS.check_classes(["person", "hard_hat"])
    with pytest.raises(InputError, match=r"hats.*person, helmet.*hard_hat"):
        HATS.check_classes(["person", "helmet"])
