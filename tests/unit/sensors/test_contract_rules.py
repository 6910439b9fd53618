"""The contract's rules one by one, each with rows on both sides of its limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score

from defectory.sensors.contract import anomalies, columns, labels
from defectory.sensors.contract.clock import Clock, parse_moment
from defectory.sensors.contract.effects import (
    Effect,
    _level,
    _Mark,
    _residuals,
    _roughness,
    _spread,
    _touches,
    _Windows,
    tolerable,
    weak,
)
from defectory.sensors.contract.labels import Event, LabelledRows
from defectory.sensors.dataset import Correlation, SignalSpec

CLOCK = Clock(2025)


def spec(kind: str = "flow", low: float = 0.0, high: float = 100.0, resolution: float | None = None) -> SignalSpec:
    return SignalSpec(name="F", unit="", kind=kind, low=low, high=high, resolution=resolution)


def label(start: int, end: int, signal: int = 0, kind: str = "spike", number: int = 1) -> LabelledRows:
    return LabelledRows(number, start, end, signal, kind)


# ------------------------------------------------------------------ clock


@pytest.mark.parametrize(("year", "rows"), [(2025, 365 * 1440), (2024, 366 * 1440), (2000, 366 * 1440)])
def test_a_year_has_a_row_a_minute(year, rows):
    clock = Clock(year)
    column = clock.column()

    assert clock.rows == len(column) == rows
    assert (column[0], column[-1]) == (f"{year}-01-01 00:00:00", f"{year}-12-31 23:59:00")
    assert all(column[row] == clock.text(row) for row in (1, 59, 60, 1439, 1440, 61 * 1440 + 754))


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("2025-01-01 00:00:00", 0),
        ("2025-01-02 01:01:00", 1440 + 61),
        ("2025-12-31 23:59:00", 525_599),
        ("2024-12-31 23:59:00", None),
        ("2026-01-01 00:00:00", None),
        ("2025-01-01 00:00:01", None),
        ("2025-02-29 00:00:00", None),
        ("2025-01-01T00:00:00", None),
        ("2025-01-01 00:00", None),
    ],
)
def test_a_row_is_a_whole_minute_of_the_year(text, row):
    assert CLOCK.row(text) == row


def test_messages_count_rows_from_1():
    assert CLOCK.place(1440) == "row 1,441 (2025-01-02 00:00:00)"
    assert parse_moment("2025-13-01 00:00:00") is None


# ------------------------------------------------------------------ labels and events


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("2025-01-01 00:05:00", "2025-01-01 00:05:00", "F", "spike", "0"), ""),
        (("2025-01-01 00:05:00", "2025-01-01 00:04:00", "F", "spike", "1"), "before its start"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06:00", "G", "spike", "1"), "not a column"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06:00", "F", "bump", "1"), "is not one of"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06:00", "F", "spike", "-0.1"), "not a number >= 0"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06:00", "F", "spike", "inf"), "not a number >= 0"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06:00", "F", "spike", "nan"), "not a number >= 0"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06:00", "F", "spike", "much"), "not a number >= 0"),
        (("2025-01-01 00:05:30", "2025-01-01 00:06:00", "F", "spike", "1"), "start"),
        (("2025-01-01 00:05:00", "2025-01-01 00:06", "F", "spike", "1"), "end"),
    ],
)
def test_a_label_marks_rows_of_a_column(row, problem):
    parsed, problems = labels.parse_labels([row], ["E", "F"], CLOCK)

    assert len(problems) == bool(problem)
    if problem:
        assert problem in problems[0] and "labels.csv row 1" in problems[0]
    else:
        assert parsed == [LabelledRows(1, 5, 5, 1, "spike")]
        assert parsed[0].rows == 1


@pytest.mark.parametrize(
    ("kind", "name", "fits"),
    [
        ("a" * 40, "", True),
        ("a" * 41, "", False),
        ("planned_stop", "n" * 200, True),
        ("stop", "n" * 201, False),
        ("stop", "a\nb", False),
        ("stop 1", "", False),
        ("", "", False),
        ("début", "", False),
    ],
)
def test_an_event_is_a_word_and_a_name(kind, name, fits):
    events, problems = labels.parse_events([("2025-01-01 00:05:00", "2025-01-01 00:05:00", kind, name)], CLOCK)

    assert (problems == []) is fits
    assert events == [Event(5, 5, kind)]


@pytest.mark.parametrize(("end", "fits"), [("00:06", True), ("00:04", False)])
def test_an_event_does_not_end_before_it_starts(end, fits):
    events, problems = labels.parse_events([("2025-01-01 00:05:00", f"2025-01-01 {end}:00", "stop", "")], CLOCK)

    assert bool(events) is fits
    assert bool(problems) is not fits


@pytest.mark.parametrize(("marked", "wish"), [(9, "add anomalies and label each"), (5_001, "label fewer rows")])
def test_too_few_and_too_many_labels_are_told_apart(marked, wish):
    assert labels.share_problem([label(100, 99 + marked)], 100_000).endswith(wish)


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        (label(5, 10), label(10, 12), "overlap on E"),
        (label(5, 10), label(11, 12), ""),
        (label(5, 10, 0), label(10, 12, 1), "different signals"),
        (label(5, 10, 0, "precursor"), label(10, 12, 1, "precursor"), ""),
        (label(5, 10, 0, "precursor"), label(10, 12, 0, "precursor"), "overlap on E"),
        (label(5, 10, 0, "precursor"), label(10, 12, 1), "different signals"),
        (label(10, 12), label(5, 10), "overlap on E"),
    ],
)
def test_labels_meet_only_where_both_are_precursors_on_different_signals(one, other, problem):
    problems = labels.overlap_problems([one, other], ["E", "F"])

    assert len(problems) == bool(problem)
    assert not problem or problem in problems[0]


@pytest.mark.parametrize(("marked", "fits"), [(9, False), (10, True), (5_000, True), (5_001, False)])
def test_from_one_row_in_ten_thousand_to_one_in_twenty_is_labelled(marked, fits):
    assert (labels.share_problem([label(100, 99 + marked)], 100_000) == "") is fits


def test_rows_are_covered_from_the_first_to_the_last_and_as_far_as_they_are_widened():
    assert np.flatnonzero(labels.covered([label(3, 5)], 12)).tolist() == [3, 4, 5]
    assert np.flatnonzero(labels.covered([label(3, 5)], 12, before=1, after=2)).tolist() == [2, 3, 4, 5, 6, 7]
    assert np.flatnonzero(labels.covered([label(1, 1), label(11, 11)], 12, 3, 3)).tolist() == [
        0,
        1,
        2,
        3,
        4,
        8,
        9,
        10,
        11,
    ]


# ------------------------------------------------------------------ columns


@pytest.mark.parametrize(
    ("values", "kind", "problem"),
    [
        ([0.0, 50, 100], "flow", ""),
        ([-0.1, 50, 100], "flow", "row 1 (2025-01-01 00:00:00): -0.1 is below low = 0"),
        ([0.0, 100.1, 50], "flow", "row 2 (2025-01-01 00:01:00): 100.1 is above high = 100"),
        # A thousandth of 0..100 is 0.1.
        ([50.0, 50.125, 50], "flow", ""),
        ([50.0, 50.0625, 50], "flow", "under 0.1% of the declared range"),
        ([1.0, 1, 1], "state", ""),
        ([1.0, 1, 1], "count", ""),
    ],
)
def test_a_signal_uses_its_declared_range_and_stays_in_it(values, kind, problem):
    said = columns.range_problem(spec(kind), np.array(values), CLOCK)

    assert problem in said
    assert bool(said) is bool(problem)


@pytest.mark.parametrize(
    ("at", "step_before", "limit", "kind", "fits"),
    [
        # Of 1,000 rows five are 0.5 %.
        (5, 1, 100.0, "flow", True),
        (6, 1, 100.0, "flow", False),
        # As many as a third on the step before: a coarse sensor, if there are more.
        (6, 2, 100.0, "flow", False),
        (6, 3, 100.0, "flow", True),
        (6, 1, 100.0, "count", True),
        (6, 1, -5.0, "flow", False),
        # A machine at rest: at 0, or at the declared low.
        (6, 1, 0.0, "flow", True),
        (6, 1, -10.0, "flow", True),
    ],
)
def test_clipped_are_more_than_five_in_a_thousand_rows_at_an_end(at, step_before, limit, kind, fits):
    sign = 1 if limit == 100 else -1
    values = limit - sign * np.linspace(2, 40, 1000)
    values[:at], values[at : at + step_before] = limit, limit - sign

    said = columns.clipping_problem(spec(kind, low=-10), values, np.zeros(1000, bool), CLOCK)

    assert (said == "") is fits
    assert fits or "0.6% of all rows" in said


def test_a_coarse_sensor_may_still_be_clipped_at_its_other_end():
    values = np.linspace(10, 60, 1000)
    values[:6], values[6:9], values[9:15] = 100, 99, -5

    assert "lowest value -5" in columns.clipping_problem(spec(low=-10), values, np.zeros(1000, bool), CLOCK)


def test_rows_that_are_faulty_are_not_clipped():
    values = 100 - np.linspace(2, 40, 1000)
    values[:6] = 100
    faulty = np.arange(1000) == 0

    assert columns.clipping_problem(spec(), values, faulty, CLOCK) == ""


def stepping(*runs: int, level: float = 50.0) -> np.ndarray:
    """A value of its own for each run of so many rows, and single ones between."""
    values: list[float] = []
    for number, length in enumerate(runs):
        values += [level + number * 0.25] * length + [level + 20 + number]
    return np.array(values + [level + 30 + number for number in range(60)])


@pytest.mark.parametrize(
    ("values", "kind", "fits"),
    [
        # Longer than 360 rows, or than three times what is ordinary, 30 rows at least.
        (stepping(90), "flow", True),
        (stepping(91), "flow", False),
        (stepping(361), "state", True),
        # Twenty runs of 40 rows make 40 ordinary, and up to 120 rows no surprise; of 19 the 30 counts.
        (stepping(120, *[40] * 20), "flow", True),
        (stepping(121, *[40] * 20), "flow", False),
        (stepping(120, *[40] * 19), "flow", True),
        (stepping(120, *[40] * 18), "flow", False),
        # Six hours are too long whatever is ordinary.
        (stepping(360, *[120] * 20), "flow", True),
        (stepping(361, *[121] * 20), "flow", False),
        # At rest, within 0.4 of 0 or of the declared low.
        (stepping(200, level=0.0), "flow", True),
        (stepping(200, level=0.375), "flow", True),
        (stepping(200, level=0.5), "flow", False),
    ],
)
def test_a_signal_freezes_for_an_hour_and_a_half_at_most(values, kind, fits):
    assert (columns.constant_run_problem(spec(kind), values, [], CLOCK) == "") is fits


def test_rest_is_at_the_declared_low_too():
    values = stepping(200, level=-9.75)

    assert columns.constant_run_problem(spec(low=-10), values, [], CLOCK) == ""
    assert columns.constant_run_problem(spec(low=-20), values, [], CLOCK).startswith(
        "column F stays at -9.75 for 200 minutes from row 1 "
    )


@pytest.mark.parametrize(
    ("marked", "fits"),
    [
        (label(150, 160, kind="stuck"), True),
        (label(150, 160, kind="dropout"), True),
        (label(150, 160, kind="spike"), False),
        (label(203, 240, kind="stuck"), False),
    ],
)
def test_a_run_that_is_labelled_as_stuck_is_explained(marked, fits):
    assert (columns.constant_run_problem(spec(), stepping(200), [marked], CLOCK) == "") is fits


def test_memory_is_the_highest_autocorrelation_within_days():
    day = np.arange(1440)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=60 * 1440)
    # A pulse every 120 minutes recurs 12 times a day: at a lag of 120 eleven of them still meet another.
    pulses = np.tile((day % 120 == 0).astype(float), 60)

    assert columns.memory(np.full(60 * 1440, 3.0)) == 1.0
    assert columns.memory(noise) < 0.02
    assert columns.memory(pulses) == pytest.approx(11 / 12, abs=0.01)
    # An autoregression of 0.5 keeps half from a minute to the next.
    kept = noise.copy()
    for row in range(1, kept.size):
        kept[row] += 0.5 * kept[row - 1]
    assert columns.memory(kept) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("temperature", 0.4),
        ("humidity", 0.4),
        ("concentration", 0.4),
        ("pressure", 0.3),
        ("power", 0.15),
        ("flow", 0.05),
    ],
)
def test_each_kind_of_quantity_has_its_memory(kind, least):
    assert columns.memory_problem(spec(kind), least) == ""
    assert f"at least {least:g}" in columns.memory_problem(spec(kind), least - 0.01)
    assert columns.memory_problem(spec("state"), 0.0) == ""


@pytest.mark.parametrize(
    ("sign", "correlation", "fits"),
    [("+", 0.0625, True), ("+", 0.03125, False), ("+", -0.5, False), ("-", -0.0625, True), ("-", 0.5, False)],
)
def test_a_declared_sign_is_there_from_a_twentieth_on(sign, correlation, fits):
    # Of two orthogonal waves the second is mixed with the first: their correlation is the share of it.
    wave, other = np.sin(np.arange(1000) * 2 * np.pi / 50), np.cos(np.arange(1000) * 2 * np.pi / 50)
    one, mixed = 50 + wave, 50 + correlation * wave + (1 - correlation**2) ** 0.5 * other

    said = columns.correlation_problem(Correlation(a="A", b="B", sign=sign), one, mixed, (spec(), spec()))

    assert (said == "") is fits
    assert fits or f"found r = {correlation:+.2f} over all rows" in said


def test_a_sign_that_shows_only_while_both_run_is_found():
    # At rest one is high where the other is low, which turns the sign over all rows; a quarter of them run.
    wave = np.sin(np.arange(400) * 0.3)
    # Within a hundredth of the range of its low a signal is at rest.
    one = np.r_[50 + wave, np.full(600, 100.0), np.full(600, 0.9)]
    other = np.r_[50 + wave, np.full(600, 0.9), np.full(600, 100.0)]
    pair = Correlation(a="A", b="B", sign="+")

    assert np.corrcoef(one, other)[0, 1] < -0.5
    assert columns.correlation_problem(pair, one, other, (spec(), spec())) == ""


# ------------------------------------------------------------------ anomalies as a whole


def test_average_precision_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores, wanted = rng.integers(0, 20, 500).astype(np.float32), rng.random(500) < 0.1

    assert anomalies.average_precision(scores, wanted) == pytest.approx(average_precision_score(wanted, scores))
    assert anomalies.average_precision(scores, np.zeros(500, bool)) == 0.0


def test_the_two_trivial_detectors_find_what_is_far_and_what_is_fast():
    # Rows 50 and 51 lie far off, which a threshold finds; the step into row 50 and the one out of 51 into 52 are equal,
    # so that of the two rows labelled one is found first, tied with one that is not, and the other among all.
    values = np.tile([0.0, 0.1], 50)
    values[50:52] = 9.0

    worth = anomalies.trivial_detectors([values], [label(50, 51)])

    scaled = np.abs(np.diff(values, prepend=values[0]))
    assert worth["a threshold on |z|"] == 1.0
    assert worth["a threshold on |step|"] == pytest.approx(
        average_precision_score(labels.covered([label(50, 51)], 100), scaled), abs=0.02
    )


def test_near_an_event_are_15_minutes_before_and_30_after_its_start_and_its_end():
    near = np.flatnonzero(anomalies._near_events([Event(100, 300, "stop")], 500))

    assert near.tolist() == [*range(85, 131), *range(285, 331)]


@pytest.mark.parametrize(("length", "explained"), [(3 * 1440, True), (3 * 1440 + 1, False)])
def test_an_event_of_three_days_explains_what_happens_within(length, explained):
    still = anomalies._standing_still([Event(100, 100 + length, "stop")], 10_000)

    assert still[2000] == explained


def test_a_signal_moves_where_it_steps_five_deviations_far_and_two_rows_around():
    # Steps of 1 each way: five times 1.4826 of the median of 1 is 7.413.
    values = np.tile([0.0, 1.0], 500)
    values[400:] += 6  # a step of 7 from a 1 to a 6... or of 5, neither far enough
    assert not anomalies._moving(values).any()
    values[401:] += 7  # from 6 to 14: 8
    assert np.flatnonzero(anomalies._moving(values)).tolist() == [399, 400, 401, 402, 403]


def stray(jump: float, *, others: int = 0, of: int = 6, eligible: bool = True, explained: bool = False) -> int | None:
    """Whether a step at row 9,000 is a stray one; thirty steps of 10 recur, and so many ``others`` move with it."""
    rows = 20_000
    values = np.tile([0.0, 0.001], rows // 2)
    for number in range(30):
        values[200 * (number + 1) :] += 10 if number % 2 else -10
    values[9_000:] += jump
    moving = [np.zeros(rows, bool) for _ in range(of)]
    for each in moving[:others]:
        each[9_000] = True
    return anomalies._stray(values, np.full(rows, eligible), np.full(rows, explained), moving, 0.0)


@pytest.mark.parametrize(
    ("jump", "options", "found"),
    [
        # Alone it is more than twice the 24th largest step, with others more than five times.
        (19.9, {}, False),
        (20.1, {}, True),
        (-20.1, {}, True),
        (49.9, {"others": 1}, False),
        (50.1, {"others": 1}, True),
        # Where a third of the others move, the whole machine does.
        (90.0, {"others": 2}, False),
        (90.0, {"others": 2, "of": 7}, True),
        (90.0, {"eligible": False}, False),
        (90.0, {"explained": True}, False),
    ],
)
def test_a_step_that_neither_recurs_nor_moves_with_others_is_a_stray_one(jump, options, found):
    assert stray(jump, **options) == (9_000 if found else None)


def stepped(steps: int = 30, *, at: dict[int, float] | None = None, noise: float = 0.001) -> int | None:
    """The first stray row of a signal that steps by 10 so many times, and changes ``at`` some rows for good."""
    rows = 20_000
    values = np.tile([0.0, noise], rows // 2)
    for number in range(steps):
        values[200 * (number + 1) :] += 10 if number % 2 else -10
    for row, change in (at or {}).items():
        values[row:] += change
    return anomalies._stray(values, np.ones(rows, bool), np.zeros(rows, bool), [np.zeros(rows, bool)] * 6, 0.0)


@pytest.mark.parametrize(
    ("at", "found"),
    [
        # A spike of 15 is no step beyond 20, but nothing else goes up and at once down again.
        ({9_000: 15, 9_001: -15}, True),
        ({9_000: -15, 9_001: 15}, True),
        ({9_000: 15, 9_001: 15}, False),
        ({9_000: 15, 9_002: -15}, False),
        # Where the rows beside it move by half as much it is a hump.
        ({8_999: 8, 9_000: 15, 9_001: -15, 9_002: -8}, False),
        ({8_999: 7, 9_000: 15, 9_001: -15, 9_002: -7}, True),
    ],
)
def test_a_spike_goes_up_and_at_once_down_again(at, found):
    assert stepped(at=at) == (9_000 if found else None)


@pytest.mark.parametrize(("steps", "found"), [(23, False), (22, True)])
def test_what_comes_24_times_recurs(steps, found):
    assert (stepped(steps, at={9_000: 12}) is not None) is found


@pytest.mark.parametrize(("change", "found"), [(3.9, False), (4.1, True)])
def test_a_step_is_not_ordinary_beyond_three_times_what_99_of_100_stay_under(change, found):
    # Each row steps by 1, up or down; into row 9,000 it would be down.
    assert stepped(0, at={9_000: change}, noise=1.0) == (9_000 if found else None)


def test_a_signal_at_rest_does_not_make_its_ordinary_steps_large():
    values = np.zeros(1000)
    values[860:] = np.tile([0.0, 1.0], 70)

    assert not anomalies._moving(values).any()


def test_trivial_detectors_see_each_signal_by_its_own_mean_and_deviation():
    loud, quiet = np.tile([500.0, 600.0], 50), np.tile([3.0, 3.1], 50)
    quiet[50] = 12.0

    assert anomalies.trivial_detectors([loud, quiet], [label(50, 50)])["a threshold on |z|"] == 1.0
    assert anomalies.trivial_detectors([np.full(100, 7.0), quiet], [label(50, 50)])["a threshold on |z|"] == 1.0


# ------------------------------------------------------------------ effects


def effect(number: int, strength: float, start: int = 0, end: int = 0, kind: str = "spike") -> Effect:
    return Effect(LabelledRows(number, start, end, number, kind), strength)


@pytest.mark.parametrize(("strength", "is_weak"), [(1.29, True), (1.3, False)])
def test_an_effect_is_clear_from_1_3_on(strength, is_weak):
    assert bool(weak([effect(1, strength)])) is is_weak


@pytest.mark.parametrize(
    ("start", "kind", "is_weak"), [(10, "precursor", False), (11, "precursor", True), (10, "spike", True)]
)
def test_precursors_that_meet_count_by_the_strongest(start, kind, is_weak):
    clear, faint = effect(1, 2.0, 5, 10, "precursor"), effect(2, 0.1, start, 20, kind)

    assert weak([clear, faint]) == [faint] * is_weak
    assert weak([faint, clear]) == [faint] * is_weak


@pytest.mark.parametrize(
    ("strengths", "count", "fits"),
    [
        ([0.7], 1, True),
        ([0.69], 1, False),
        ([0.9, 0.9], 39, False),
        ([0.9, 0.9], 40, True),  # one in twenty
        ([0.9, 0.9, 0.9], 59, False),
        ([0.9, 0.9, 0.69], 60, False),
        ([], 0, True),
    ],
)
def test_one_label_in_twenty_may_be_faint_and_none_may_show_nothing(strengths, count, fits):
    assert tolerable([effect(number, each) for number, each in enumerate(strengths)], count) is fits


def test_windows_touch_spans_from_their_first_row_to_their_last():
    # A span of rows 10 to 12; windows of three rows.
    starts = np.arange(5, 17)

    touched = _touches([Event(10, 12, "stop")], starts, 3, 0)
    widened = _touches([Event(10, 12, "stop")], starts, 3, 2)

    assert starts[touched].tolist() == [8, 9, 10, 11, 12]
    assert starts[widened].tolist() == [6, 7, 8, 9, 10, 11, 12, 13, 14]


def test_statistics_of_windows_are_means_deviations_and_steps():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 1000)
    with ThreadPoolExecutor(1) as pool:
        windows = _Windows([values], pool)
    scaled = (values - values.mean()) / values.std()
    start, end = _Mark(windows, np.array([100])), _Mark(windows, np.array([160]))

    assert _level(start, end)[0, 0] == pytest.approx(scaled[100:160].mean())
    assert _spread(start, end)[0, 0] == pytest.approx(np.log10(scaled[100:160].std() + 1e-3))
    steps = np.abs(np.diff(scaled))[100:160]
    assert _roughness(start, end)[0, 0] == pytest.approx(np.log10(steps.mean() + 1e-3))
    assert _level(start.moved(30), end)[0, 0] == pytest.approx(scaled[130:160].mean())


def test_what_surrounds_a_window_predicts_it_as_scikit_learns_ridge_does():
    # With fewer windows than neighbours all of them count: a ridge whose penalty is a hundredth of their number.
    rng = np.random.default_rng(0)
    features, count = rng.normal(size=(3, 101)), 100
    target = 2 * features[0] - features[1] + rng.normal(0, 0.1, 101)
    known = (features - features.mean(axis=1, keepdims=True)) / (features.std(axis=1, keepdims=True) + 1e-9)
    peer = Ridge(alpha=0.01 * count).fit(known[:, :-1].T, target[:-1])

    residuals = _residuals([features[:2].copy(), features[2:].copy()], target)

    assert residuals[-1] == pytest.approx(target[-1] - peer.predict(known[:, -1:].T)[0], abs=1e-6)
    assert np.sort(residuals[:-1]) == pytest.approx(np.sort(target[:-1] - peer.predict(known[:, :-1].T)), abs=1e-6)
