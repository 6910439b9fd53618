"""Effects, step by step: which windows a label is compared with, what predicts it, and how strongly it shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from defectory.sensors.contract.effects import (
    CLEAR,
    Effect,
    _comparable,
    _Judge,
    _level,
    _Mark,
    _residuals,
    _roughness,
    _spread,
    _touches,
    _View,
    _Windows,
    effects,
    tolerable,
    weak,
)
from defectory.sensors.contract.labels import Event, LabelledRows

MODULE = import_module("defectory.sensors.contract.effects")  # its package has a function of that name
DAY = 1440


def label(start: int, end: int, signal: int = 0, kind: str = "spike", number: int = 1) -> LabelledRows:
    return LabelledRows(number, start, end, signal, kind)


def windows_of(*columns: np.ndarray) -> _Windows:
    with ThreadPoolExecutor(1) as pool:
        return _Windows(columns, pool)


# ------------------------------------------------------------------ which effects are weak


@pytest.mark.parametrize(
    ("faint", "clear", "is_weak"),
    [
        # The faint precursor comes before the clear one: they meet where it ends no earlier than the other starts.
        ((0, 5), (5, 10), False),
        ((0, 4), (5, 10), True),
        ((10, 20), (5, 10), False),
        ((11, 20), (5, 10), True),
        ((6, 7), (5, 10), False),
    ],
)
def test_a_faint_precursor_counts_with_a_clear_one_before_or_after_that_it_meets(faint, clear, is_weak):
    one, other = Effect(label(*faint, 0, "precursor", 1), 0.5), Effect(label(*clear, 1, "precursor", 2), 2.0)

    assert weak([one, other]) == [one] * is_weak
    assert weak([other, one]) == [one] * is_weak


@pytest.mark.parametrize("kinds", [("spike", "spike"), ("precursor", "spike"), ("spike", "precursor")])
def test_other_kinds_than_precursors_count_alone(kinds):
    one, other = Effect(label(0, 9, 0, kinds[0], 1), 0.5), Effect(label(0, 9, 1, kinds[1], 2), 2.0)

    assert weak([one, other]) == [one]


@pytest.mark.parametrize(("strength", "is_weak"), [(1.2999, True), (1.3, False), (1.3001, False), (0.65, True)])
def test_an_effect_is_clear_from_1_3_on(strength, is_weak):
    effect = Effect(label(0, 9), strength)

    assert weak([effect]) == [effect] * is_weak


@pytest.mark.parametrize(
    ("strengths", "labels", "fits"),
    [
        ([], 0, True),
        ([0.7], 1, True),  # one may be faint however few there are
        ([0.69], 1, False),
        ([0.9, 0.9], 39, False),  # 0.05 x 39 = 1.95
        ([0.9, 0.9], 40, True),
        ([0.9, 0.9, 0.9], 59, False),
        ([0.9, 0.9, 0.9], 60, True),
        ([0.9, 0.69], 400, False),
        ([0.9, 0.9], 10, False),
    ],
)
def test_one_label_in_twenty_may_be_faint(strengths, labels, fits):
    assert tolerable([Effect(label(0, 9), each) for each in strengths], labels) is fits


# ------------------------------------------------------------------ running sums, marks, means


def test_running_sums_are_of_values_squares_and_steps():
    # Mean 2, deviation 1: scaled to -1, 1, 1, -1; steps 2, 0, 2 and none after the last.
    windows = windows_of(np.array([1.0, 3.0, 3.0, 1.0]), np.array([5.0, 5.0, 5.0, 5.0]))

    assert (windows.count, windows.rows) == (2, 4)
    assert windows.sums.shape == (3, 2, 5)
    assert windows.sums[:, 0].tolist() == [[0, -1, 0, 1, 0], [0, 1, 2, 3, 4], [0, 2, 2, 4, 4]]
    assert windows.sums[:, 1].tolist() == [[0] * 5] * 3


def test_marks_stay_within_the_year():
    windows = windows_of(np.array([1.0, 3.0, 3.0, 1.0]))
    mark = _Mark(windows, np.array([-3, 1, 9]))

    assert mark.rows.tolist() == [0, 1, 4]
    assert mark.moved(2).rows.tolist() == [2, 3, 4]
    assert mark.moved(-1).rows.tolist() == [0, 0, 3]
    assert mark.sums(0).tolist() == [[0, -1, 0]]
    assert mark.sums(2).tolist() == [[0, 2, 4]]


def test_level_spread_and_roughness_by_hand():
    # Scaled to -1, 1, 1, -1 as above; spans of no row, of row 1, of rows 1 and 2, of rows 2 and 3.
    windows = windows_of(np.array([1.0, 3.0, 3.0, 1.0]))
    start, end = _Mark(windows, np.array([0, 1, 1, 2])), _Mark(windows, np.array([-5, 2, 3, 4]))

    assert _level(start, end)[0] == pytest.approx([0, 1, 1, 0])
    # Their deviations are 0, 0, 0 and 1, each a thousandth more so that it has a logarithm.
    assert _spread(start, end)[0] == pytest.approx([-3, -3, -3, np.log10(1.001)])
    # Steps out of row 1: 0; of rows 1 and 2: 0 and 2; of rows 2 and 3: 2 and, at the year's end, 0.
    assert _roughness(start, end)[0] == pytest.approx([-3, -3, np.log10(1.001), np.log10(1.001)])


# ------------------------------------------------------------------ comparable windows


@pytest.mark.parametrize(
    ("margin", "first", "last"),
    [(0, 8, 12), (2, 6, 14)],  # a window of 3 rows meets rows 10 to 12 from start 8 to start 12
)
def test_a_window_meets_an_event_from_its_first_row_to_its_last(margin, first, last):
    starts = np.arange(30)

    assert starts[_touches([Event(10, 12, "stop")], starts, 3, margin)].tolist() == list(range(first, last + 1))
    both = _touches([Event(25, 26, "stop"), Event(10, 12, "stop")], starts, 3, 0)
    assert starts[both].tolist() == [8, 9, 10, 11, 12, 23, 24, 25, 26]
    assert not _touches([], starts, 3, margin).any()


def test_half_of_the_windows_are_anywhere_and_half_at_the_labels_time_of_day():
    # 25 days: each of them 800 / 25 = 32 times at noon.  The label and what surrounds it take a day each, so that the
    # first day and the last two do not fit: 22 days x 32 + 800 anywhere.
    noon = 10 * DAY + 720
    starts = _comparable(25 * DAY, label(noon, noon + DAY - 1), [], [], DAY)
    off = np.abs(starts % DAY - 720)

    assert starts.size == 800 + 22 * 32
    assert (np.diff(starts) >= 0).all() and starts.min() >= DAY and starts.max() < 23 * DAY
    # Of the 800 anywhere 91 in 1,440 are within 45 minutes of noon as well, which are 51 or so.
    assert 22 * 32 + 25 < np.count_nonzero(off <= 45) < 22 * 32 + 80
    assert np.bincount(starts // DAY)[1:23].min() >= 32


def test_every_day_of_a_year_is_compared_at_45_minutes_around_the_labels_time():
    start = 100 * DAY + 720
    starts = _comparable(365 * DAY, label(start, start + 9), [], [], 10)
    times = np.bincount(starts % DAY, minlength=DAY)

    assert starts.size == 1600
    assert np.count_nonzero(np.bincount(starts // DAY, minlength=365)) == 365
    # Each of the 91 minutes comes 8.8 times on average, every other one 0.6 times.
    assert (times[675], times[765]) > (2, 2) and times[675:766].mean() > 8
    assert times[:675].mean() < 1 and times[766:].mean() < 1 and max(times[674], times[766]) <= 2


def test_the_same_label_is_compared_with_the_same_windows_another_with_others():
    one, again, other = (_comparable(25 * DAY, label(9000, 9009, number=number), [], [], 10) for number in (1, 1, 2))

    assert one.tolist() == again.tolist() != other.tolist()


def test_windows_fit_into_the_year_with_their_surroundings():
    # Two days less 10 rows and twice 1,430: ten starts are left, 1,430 to 1,439.
    starts = _comparable(2 * DAY, label(1435, 1444), [], [], 1430)

    assert np.unique(starts).tolist() == list(range(1430, 1440))


@pytest.mark.parametrize(
    ("other", "context", "absent"),
    [
        # Within the surroundings, but no further than an hour: starts from 10 rows and 60 before to 60 after.
        ((761, 761), 100, (692, 745)),
        ((639, 639), 100, (655, 699)),
        # 10 rows and 20, 20 after.
        ((720, 722), 20, (691, 742)),
    ],
)
def test_windows_keep_away_from_labels_of_the_same_signal(other, context, absent):
    # In a year of one day 800 of the windows are within 45 minutes of the label's start: each minute comes 8.8 times.
    there = np.unique(_comparable(DAY, label(700, 709), [label(*other)], [], context))
    first, last = absent

    assert not np.isin(np.arange(first, last + 1), there).any()
    around = [row for row in (first - 1, last + 1) if 655 <= row <= 745]
    assert around and np.isin(around, there).all()
    healthy = np.unique(_comparable(DAY, label(700, 709), [label(*other, signal=1)], [], context))
    assert np.isin(np.arange(655, 746), healthy).all()


@pytest.mark.parametrize(
    ("event", "absent", "present"),
    [
        # Four hours around an event: 10 rows and 240 before it, 240 after it.
        ((951, 951), range(702, 746), (701, 700)),
        ((459, 459), range(655, 700), (700, 701)),
    ],
)
def test_an_event_is_near_only_where_the_label_has_one(event, absent, present):
    # Two days, the label on the second: 400 windows, 4.4 to a minute, are at its time of the first.
    without = _comparable(2 * DAY, label(DAY + 700, DAY + 709, number=3), [], [], 250)
    there = _comparable(2 * DAY, label(DAY + 700, DAY + 709, number=3), [], [Event(*event, "stop")], 250)

    assert np.isin(present, without).all() and np.isin(present, there).all()
    assert absent[0] in without and absent[-1] in without
    assert not np.isin(list(absent), there).any()


def test_a_label_at_an_event_is_compared_with_windows_at_events():
    events = [Event(day * DAY + 680, day * DAY + 720, "change") for day in range(20)]
    start = 9 * DAY + 700

    there = _comparable(20 * DAY, label(start, start + 9), [], events, 10)
    away = _comparable(20 * DAY, label(start + 360, start + 369), [], events, 10)

    # From 10 rows and 10 before the event's start to 10 after its end.
    assert there.size > 400 and set(there % DAY) <= set(range(661, 731))
    assert away.size > 800 and not set(away % DAY) & set(range(661, 731))


LATE = label(19 * DAY + 720, 19 * DAY + 729)


def late_windows(last_of_event: int) -> np.ndarray:
    """With an event from the first row of twenty days until that one."""
    return _comparable(20 * DAY, LATE, [], [Event(0, last_of_event, "stop")], 300)


@pytest.mark.parametrize("neighbours", [180, 210])
@pytest.mark.parametrize(("number", "wide"), [(0, True), (1, False)])
def test_four_hundred_windows_far_from_events_are_enough(monkeypatch, neighbours, number, wide):
    # Twice as many as neighbours are asked for; exactly as many, or one fewer, lie beyond four hours of the event.
    starts = _comparable(20 * DAY, LATE, [], [], 300)
    monkeypatch.setattr(MODULE, "NEIGHBOURS", neighbours)
    count = 2 * neighbours - number
    assert starts[-count] > starts[-count - 1]
    last = int(starts[-count]) - 241

    there = late_windows(last)

    assert there.tolist() == (starts[-count:] if wide else starts[starts > last]).tolist()


def test_two_hundred_neighbours_are_asked_for():
    starts = _comparable(20 * DAY, LATE, [], [], 300)
    for count in (399, 400):
        assert starts[-count] > starts[-count - 1]
        last = int(starts[-count]) - 241
        assert (late_windows(last).size == count) is (count == 400)


def test_sixty_windows_without_an_event_are_enough_and_with_fewer_events_do_not_count():
    starts = _comparable(20 * DAY, LATE, [], [], 300)

    for count in (59, 60, 61):
        assert starts[-count] > starts[-count - 1]
        there = late_windows(int(starts[-count]) - 1)
        assert there.tolist() == (starts if count == 59 else starts[-count:]).tolist()


def test_a_window_right_after_an_event_has_none():
    # One of two windows whose starts are a row apart starts in the event's last row, the other in the next.
    starts = _comparable(20 * DAY, LATE, [], [], 300)
    count = next(n for n in range(60, 400) if starts[-n] - starts[-n - 1] == 1)

    assert late_windows(int(starts[-count]) - 1).tolist() == starts[-count:].tolist()


# ------------------------------------------------------------------ one label among comparable windows


def span_mean(values: np.ndarray, start: int, end: int) -> float:
    span = values[max(start, 0) : max(end, 0)]
    return float(span.mean()) if span.size else 0.0


def span_spread(values: np.ndarray, start: int, end: int) -> float:
    span = values[max(start, 0) : max(end, 0)]
    return float(np.log10((span.std() if span.size else 0.0) + 1e-3))


def span_roughness(values: np.ndarray, start: int, end: int) -> float:
    return float(np.log10(span_mean(np.abs(np.diff(values, append=values[-1])), start, end) + 1e-3))


def reference(columns, helping, starts, length, context, statistic):
    """Target and features of the windows for each residual of a statistic of signal 1, from the rows themselves."""
    scaled = [(column - column.mean()) / column.std() for column in columns]
    own, others = scaled[1], [scaled[place] for place in helping]
    half, quarter, width, widened = length // 2, length // 4, min(3, length), max(0, (7 - length) // 2)

    def table(measure):
        return np.array([measure(int(start)) for start in starts]).T

    def around(measure, start):
        end = start + length
        return lambda values: measure(values, start - context, start), lambda values: measure(
            values, end, end + context
        )

    def jump(values, row):
        return span_mean(values, row, row + width) - span_mean(values, row - width, row)

    def within(measure, values, start):
        return measure(values, start, start + length)

    def wide_spread(values, start):
        return span_spread(values, start - widened, start + length + widened)

    def trend(values, start):
        return span_mean(values, start + half, start + length) - span_mean(values, start, start + half)

    def tail(values, start):
        return span_mean(values, start + length - quarter, start + length)

    def features(start):
        before, after = around(span_mean, start)
        levels = [within(span_mean, each, start) for each in others]
        befores, afters = [before(each) for each in others], [after(each) for each in others]
        spreads = [wide_spread(each, start) for each in others]
        common = [*levels, *befores, *spreads]
        if statistic == "level":
            return [before(own), after(own), *common, *afters]
        if statistic == "trend":
            return [before(own), after(own), *(trend(each, start) for each in others), *common, *afters]
        if statistic == "tail":
            return [before(own), *(tail(each, start) for each in others), *common]
        measure = span_spread if statistic == "spread" else span_roughness
        before, after = around(measure, start)
        around_others = [before(own), after(own), *map(before, others), *map(after, others)]
        rough = [within(measure, each, start) for each in others] if statistic == "roughness" else []
        return [*around_others, *levels, *spreads, *rough]

    match statistic:
        case "edge":
            for ahead, reference_at in ((0, -width), (length, 0)):
                yield (
                    table(lambda start, ahead=ahead: jump(own, start + ahead)),
                    table(
                        lambda start, ahead=ahead, at=reference_at: [
                            *(jump(each, start + ahead) for each in others),
                            span_mean(own, start + ahead + at, start + ahead + at + width),
                        ]
                    ),
                )
        case "trend":
            yield table(lambda start: trend(own, start)), table(features)
        case "tail":
            yield table(lambda start: tail(own, start)), table(features)
        case _:
            measure = {"level": span_mean, "spread": span_spread, "roughness": span_roughness}[statistic]
            yield table(lambda start: within(measure, own, start)), table(features)


def peer_residuals(features, target, neighbours=200):
    """By scikit-learn: a ridge on the nearest windows, its penalty a hundredth of their number."""
    known = (features - features.mean(axis=1, keepdims=True)) / (features.std(axis=1, keepdims=True) + 1e-9)
    nearest = np.argsort(((known[:, :-1] - known[:, -1:]) ** 2).sum(axis=0))[:neighbours]
    ridge = Ridge(alpha=0.01 * nearest.size, solver="cholesky").fit(known[:, nearest].T, target[nearest])
    which = np.append(nearest, target.size - 1)
    return target[which] - ridge.predict(known[:, which].T)


RNG = np.random.default_rng(4)
LOAD = np.cumsum(RNG.normal(0, 1, 3000)) / 30
SIGNALS = [LOAD + RNG.normal(0, 0.3, 3000), 2 * LOAD + RNG.normal(0, 0.5, 3000), RNG.gamma(2, 1, 3000) - LOAD]
STARTS = RNG.choice(np.arange(60, 2900), 260, replace=False)
SUMS = windows_of(*SIGNALS)


@pytest.mark.parametrize("length", [1, 3, 4, 5, 6, 7, 8, 21])
@pytest.mark.parametrize("statistic", ["level", "trend", "tail", "edge", "spread", "roughness"])
def test_a_statistic_is_what_the_surroundings_do_not_explain(statistic, length):
    context = max(length, 6)
    # The label at the year's very start, at its very end, and amid it.
    ends = [0, 3000 - length, 1500]
    if length < {"spread": 4, "trend": 8, "tail": 8}.get(statistic, 1):
        assert _View(SUMS, 1, [0, 2], np.append(STARTS, 0), length, context).strength(statistic, 0) == 0.0
        return
    tables = list(reference(SIGNALS, [0, 2], [*STARTS, *ends], length, context, statistic))
    for place, direction in enumerate((0, 1, -1)):
        starts = np.append(STARTS, ends[place])
        found = _View(SUMS, 1, [0, 2], starts, length, context).strength(statistic, direction)

        one = [*range(STARTS.size), STARTS.size + place]
        residuals = [peer_residuals(features[:, one], target[one]) for target, features in tables]
        usual = np.concatenate([each[:-1] for each in residuals])
        last = np.array([each[-1] for each in residuals]) - np.median(usual)
        usual = usual - np.median(usual)
        if direction:
            expected = max(0.0, (direction * last).max() / np.quantile(direction * usual, 0.98))
        else:
            expected = np.abs(last).max() / np.quantile(np.abs(usual), 0.98)
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("windows", [80, 200, 201, 260, 400, 500])
def test_at_most_two_hundred_nearest_windows_predict(windows):
    rng = np.random.default_rng(windows)
    features = rng.normal(size=(3, windows + 1))
    target = np.sin(features[0]) - features[1] ** 2 + rng.normal(0, 0.1, windows + 1)

    residuals = _residuals([features[:2].copy(), features[2:].copy()], target)

    expected = peer_residuals(features, target)
    assert residuals.size == min(windows, 200) + 1
    assert residuals[-1] == pytest.approx(expected[-1], abs=1e-6)
    assert np.sort(residuals[:-1]) == pytest.approx(np.sort(expected[:-1]), abs=1e-6)


def test_what_hardly_varies_explains_little_and_what_does_not_vary_nothing():
    # One feature deviates by 1e-9, which is scaled to a half, and one by nothing, which is scaled to 0.
    rng = np.random.default_rng(3)
    features = rng.normal(size=(3, 121))
    features[1] *= 1e-9 / features[1].std()
    features[2] = 7.0
    target = features[0] + 1e9 * features[1] + rng.normal(0, 0.1, 121)

    residuals = _residuals([features.copy()], target)

    assert residuals[-1] == pytest.approx(peer_residuals(features, target)[-1], abs=1e-6)


# ------------------------------------------------------------------ strength


def shows(monkeypatch, statistic, *residuals):
    """Let a statistic leave those residuals."""
    monkeypatch.setitem(MODULE._STATISTICS, statistic, lambda _view: iter([np.array(each) for each in residuals]))


EVEN = np.linspace(-1, 1, 101)  # of 101 residuals 98 % stay under 0.96, and in either direction under 0.98


def view(length: int = 10) -> _View:
    return _View(windows_of(np.arange(100.0)), 0, [], np.array([30, 40, 50]), length, 10)


@pytest.mark.parametrize(
    ("last", "direction", "strength"),
    [
        (5.0, 0, 5 / 0.98),
        (-5.0, 0, 5 / 0.98),
        (5.0, 1, 5 / 0.96),
        (-5.0, 1, 0.0),
        (-5.0, -1, 5 / 0.96),
        (5.0, -1, 0.0),
        (0.48, 1, 0.5),
        (0.96, 1, 1.0),
        (0.0, 0, 0.0),
    ],
)
def test_strength_is_in_units_of_what_98_of_100_stay_under(monkeypatch, last, direction, strength):
    # The same a constant higher: what residuals have in common is no effect.
    for middle in (0.0, 3.0):
        shows(monkeypatch, "level", np.append(EVEN, last) + middle)

        assert view().strength("level", direction) == pytest.approx(strength)


@pytest.mark.parametrize(("direction", "strength"), [(0, 4 / 0.98), (1, 2 / 0.96), (-1, 4 / 0.96)])
def test_the_stronger_of_two_edges_counts(monkeypatch, direction, strength):
    # Twice the same usual residuals have nearly the same quantiles: 0.98 x 201 = 196.98 of them.
    shows(monkeypatch, "edge", np.append(EVEN, 2.0), np.append(EVEN, -4.0))

    assert view().strength("edge", direction) == pytest.approx(strength, rel=0.01)


def test_where_windows_leave_nothing_a_millionth_counts_as_ordinary(monkeypatch):
    shows(monkeypatch, "level", [0.0] * 50 + [3e-6])

    assert view().strength("level", 0) == pytest.approx(3.0)


# ------------------------------------------------------------------ the judge

ALL = ("level", "trend", "tail", "edge", "spread", "roughness")
PLAIN = np.tile([-1.0, 1.0], 50)  # the limit is 1 in every direction


def judged(monkeypatch, kind: str, counts=(100,), *, rows: int = 40) -> tuple[float, list[int]]:
    """Strength of one label of so many rows with so many windows to compare with, and the contexts asked for."""
    contexts: list[int] = []
    sizes = iter([*counts, *counts])

    def comparable(*arguments):
        contexts.append(arguments[-1])
        return np.arange(50, 50 + next(sizes))

    monkeypatch.setattr(MODULE, "_comparable", comparable)
    one = label(300, 299 + rows, 0, kind)
    judge = _Judge(windows_of(np.sin(np.arange(8000.0)), np.cos(np.arange(8000.0))), [0, 1], [one], [])
    return judge.strength(one), contexts


BOTH, UP, DOWN = (-1, 1), (1,), (-1,)


@pytest.mark.parametrize(
    ("kind", "statistics"),
    [
        ("spike", {"level": BOTH, "roughness": UP}),
        ("level_shift", {"level": BOTH, "edge": BOTH}),
        ("drift", {"level": BOTH, "trend": BOTH, "tail": BOTH, "edge": BOTH}),
        ("stuck", {"spread": DOWN, "roughness": DOWN}),
        ("noise_burst", {"spread": UP, "roughness": UP}),
        ("oscillation", {"spread": BOTH, "roughness": BOTH}),
        ("dropout", {"level": BOTH, "edge": BOTH}),
        ("precursor", {"level": BOTH, "trend": BOTH, "tail": BOTH, "spread": BOTH, "roughness": BOTH}),
    ],
)
def test_a_kind_shows_in_its_statistics_and_directions_alone(monkeypatch, kind, statistics):
    for statistic in ALL:
        for sign in BOTH:
            for each in ALL:
                shows(monkeypatch, each, np.append(PLAIN, 3.0 * sign if each == statistic else 0.0))

            strength, _ = judged(monkeypatch, kind)

            assert strength == (3.0 if sign in statistics.get(statistic, ()) else 0.0)


@pytest.mark.parametrize(
    ("level", "strength"),
    [(1.29, 9.0), (1.3, 1.3), (1.31, 1.31)],  # from 1.3 on nothing further is looked at
)
def test_a_label_that_is_clear_is_looked_at_no_further(monkeypatch, level, strength):
    shows(monkeypatch, "level", np.append(PLAIN, level))
    shows(monkeypatch, "roughness", np.append(PLAIN, 9.0))

    assert judged(monkeypatch, "spike")[0] == pytest.approx(strength)


@pytest.mark.parametrize(
    ("rows", "contexts"),
    [
        (1, [6, 6]),
        (6, [6, 6]),
        (7, [7, 7]),
        (30, [30, 30]),
        (31, [31, 30]),
        (1440, [1440, 30]),
        (1441, [1440, 30]),
    ],
)
def test_surroundings_are_as_long_as_the_label_up_to_a_day_then_up_to_half_an_hour(monkeypatch, rows, contexts):
    for each in ("level", "roughness"):
        shows(monkeypatch, each, np.append(PLAIN, 0.8))

    assert judged(monkeypatch, "spike", rows=rows) == (pytest.approx(0.8), contexts)


@pytest.mark.parametrize(
    ("counts", "strength"),
    [((59, 59), 0.0), ((60, 59), 0.8), ((59, 60), 0.8), ((61, 61), 0.8)],
)
def test_with_fewer_than_sixty_windows_nothing_is_said(monkeypatch, counts, strength):
    for each in ("level", "roughness"):
        shows(monkeypatch, each, np.append(PLAIN, 0.8))

    found, contexts = judged(monkeypatch, "spike", counts)

    assert found == pytest.approx(strength)
    assert contexts == [40, 30]


@pytest.mark.parametrize(
    ("other", "helps"),
    [
        # The label is rows 100 to 109; half of a context of 21 rows is 10.
        ((119, 130), False),
        ((120, 130), True),
        ((80, 90), False),
        ((80, 89), True),
        ((103, 104), False),
        ((10, 300), False),
    ],
)
def test_a_signal_that_is_faulty_nearby_explains_nothing(other, helps):
    one = label(100, 109, 17)
    judge = _Judge(windows_of(np.arange(9.0)), [16, 17, 18], [one, label(*other, 18)], [])

    assert list(judge._helping(one, 21)) == [[0, 2] if helps else [0]]
    assert list(judge._helping(label(100, 109, 17, "precursor"), 21)) == [[0, 2] if helps else [0], [0, 2]]


# ------------------------------------------------------------------ whole datasets


@pytest.mark.parametrize(("signals", "groups"), [(1, [1]), (15, [15]), (16, [16]), (17, [9, 8]), (33, [11, 11, 11])])
def test_signals_are_looked_at_sixteen_at_once(monkeypatch, signals, groups):
    seen = []

    class Counted(_Windows):
        def __init__(self, columns, pool):
            seen.append(len(columns))
            super().__init__(columns, pool)

    monkeypatch.setattr(MODULE, "_Windows", Counted)
    monkeypatch.setattr(_Judge, "strength", lambda judge, one: float(judge.members.index(one.signal)))
    columns = [np.arange(50.0)] * signals
    labels = [label(5, 9, signal, number=signal) for signal in range(signals)]
    with ThreadPoolExecutor(1) as pool:
        found = effects(columns, labels, [], pool)

    assert seen == groups
    places = [float(place) for size in groups for place in range(size)]
    assert found == [Effect(one, place) for one, place in zip(labels, places, strict=True)]
    # A group without a label is not looked at.
    with ThreadPoolExecutor(1) as pool:
        assert effects(columns, labels[-1:], [], pool) == found[-1:]
    assert seen == [*groups, groups[-1]]


def test_a_shift_is_clear_amid_the_year_and_at_its_ends_unless_every_signal_has_it():
    rng = np.random.default_rng(8)
    rows = 10 * DAY
    load = np.sin(np.arange(rows) * 2 * np.pi / DAY)
    columns = [load + rng.normal(0, 0.2, rows) for _ in range(3)]
    spans = [(0, 29), (7000, 7029), (rows - 30, rows - 1)]
    labels = [label(*span, 0, "level_shift", number) for number, span in enumerate(spans, 1)]
    with ThreadPoolExecutor(1) as pool:
        plain = effects(columns, labels, [], pool)
        for span in labels:
            columns[0][span.start : span.end + 1] += 1.5
        shifted = effects(columns, labels, [], pool)
        for other in columns[1:]:
            other[7000:7030] += 1.5
        common = effects(columns, labels, [], pool)

    assert [each.label for each in shifted] == labels
    assert min(each.strength for each in shifted) > CLEAR
    assert max(each.strength for each in plain) < CLEAR
    assert common[1].strength < shifted[1].strength / 2
