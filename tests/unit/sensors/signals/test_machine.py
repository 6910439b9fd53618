"""The signals library: calendars, wear, recipes, noise and anomalies behave as their physics says."""

from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.sensors.dataset import AnomalyKind, SignalKind, read_manifest
from defectory.sensors.signals import Machine, Step
from defectory.sensors.signals.anomalies import WINDOWS
from defectory.sensors.signals.dynamics import autoregressive, generator, lag
from defectory.sensors.signals.kinds import NOISE_MEMORY
from defectory.sensors.signals.operation import minutes_in, weekday_of_first_day
from defectory.sensors.signals.recipe import schedule_batches


def pump(seed: int = 3, anomalies: int = 0, extra: bool = False) -> Machine:
    m = Machine("Feed Pump", year=2025, seed=seed)
    m.stops(per_week=3, minutes=20)
    wear = m.maintenance("seal change", every_hours=1500, minutes=240)
    m.failure("bearing", {"Vibration": 6, "Bearing_Temperature": 4}, hours=72, count=2)
    load = m.on * m.demand(0.8, 0.07)
    m.signal("Flow", 120 * m.lag(load, 2), unit="m3/h", kind="flow", low=0, high=250, noise=1.2)
    if extra:
        m.signal("Extra", 20 * load, unit="bar", kind="pressure", low=0, high=60)
    m.signal("Vibration", 1.5 * load * (1 + wear), unit="mm/s", kind="vibration", low=0, high=25, noise=0.1)
    heat = m.lag(30 * load, 40, 90) + m.ambient(20, 6, 2)
    m.signal("Bearing_Temperature", heat, unit="degC", kind="temperature", low=-20, high=160, noise=0.3)
    if anomalies:
        m.anomalies(anomalies)
    return m


@pytest.mark.parametrize(("year", "minutes"), [(2025, 525_600), (2024, 527_040), (1970, 525_600)])
def test_a_year_has_every_minute(year, minutes):
    assert minutes_in(year) == minutes


@pytest.mark.parametrize(("year", "weekday"), [(2024, 0), (2025, 2), (2026, 3), (1970, 3)])
def test_weeks_start_where_the_calendar_says(year, weekday):
    assert weekday_of_first_day(year) == weekday


def test_kinds_are_those_of_the_dataset_format():
    assert set(NOISE_MEMORY) == set(get_args(SignalKind))
    assert set(WINDOWS) | {"precursor"} == set(get_args(AnomalyKind))


def test_same_seed_same_bytes_and_other_seed_other_data(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (3, 3, 4), strict=True):
        folder.mkdir()
        pump(seed, anomalies=12).write(folder)
    files = ["data.csv", "data.parquet", "labels.csv", "events.csv", "dataset.json"]
    first, second, other = ([(folder / name).read_bytes() for name in files] for folder in folders)
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_signal_more_does_not_change_the_others():
    plain, more = pump(), pump(extra=True)
    for name in ("Flow", "Vibration", "Bearing_Temperature"):
        np.testing.assert_array_equal(plain._columns[name], more._columns[name])


def test_anomalies_change_what_they_label_and_nothing_else():
    clean, faulty = pump(), pump(anomalies=40)
    labels = [label for label in faulty._labels if label.kind != "precursor"]
    assert len(labels) == 40
    assert {label.kind for label in labels} == set(WINDOWS)
    assert {label.signal for label in labels} == set(faulty._columns)
    for name, column in faulty._columns.items():
        labelled = np.zeros(column.size, bool)
        for label in labels:
            if label.signal == name:
                window = slice(label.start, label.end + 1)
                assert (column[window] != clean._columns[name][window]).mean() > 0.5, label
                labelled[window] = True
        np.testing.assert_array_equal(column[~labelled], clean._columns[name][~labelled])


def test_precursors_grow_until_the_breakdown():
    m = pump()
    labels = [label for label in m._labels if label.kind == "precursor" and label.signal == "Vibration"]
    breakdowns = sorted(start for start, _, kind, _ in m._events if kind == "failure")
    assert [label.end + 1 for label in labels] == breakdowns
    for label in labels:
        column = m._columns["Vibration"]
        early, late = column[label.start - 600 : label.start], column[label.end - 120 : label.end]
        assert np.median(late) > np.median(early) + 4 * np.std(early)
        standstill = column[label.end + 10 : label.end + 150]
        assert standstill.max() < 0.2


def test_a_failing_machine_shows_nothing_in_what_it_does_not_use():
    m = Machine("Etcher", seed=5)
    m.failure("match network", {"Reflected_Power": 4}, hours=60, count=2)
    recipe = m.recipe(Step("load", 6), Step("etch", 11))
    etching = recipe.level(etch=1)
    power = m.signal("Reflected_Power", 5 * etching, unit="W", kind="power", low=0, high=150, noise=0.3)
    assert {label.kind for label in m._labels} == {"precursor"}
    for label in m._labels:
        window = slice(label.end - 600, label.end)
        assert power[window][etching[window] == 0].max() < 0.5
        assert np.median(power[window][etching[window] == 1]) > 8


def test_files_hold_the_same_values_in_range_and_resolution(tmp_path):
    pump(anomalies=10).write(tmp_path)
    manifest = read_manifest(tmp_path)
    text = pl.read_csv(tmp_path / "data.csv", try_parse_dates=True)
    typed = pl.read_parquet(tmp_path / "data.parquet")
    assert text.columns == ["Timestamp", *(signal.name for signal in manifest.signals)]
    assert text.equals(typed.with_columns(pl.col("Timestamp").cast(text.schema["Timestamp"])))
    raw = (tmp_path / "data.csv").read_bytes()
    assert raw.splitlines()[1].startswith(b"2025-01-01 00:00:00,")
    assert raw.splitlines()[-1].startswith(b"2025-12-31 23:59:00,")
    for signal in manifest.signals:
        values = text[signal.name].to_numpy()
        assert signal.low <= values.min() and values.max() <= signal.high
        steps = values / signal.resolution
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    per_day=st.integers(1, 3), days=st.integers(1, 7), start=st.integers(0, 23), hours=st.sampled_from([6, 8, 12]),
    year=st.sampled_from([2023, 2024, 2025]),
)  # fmt: skip
def test_shifts_keep_the_share_and_the_days(per_day, days, start, hours, year):
    m = Machine("Press", year=year, seed=1)
    m.shifts(per_day=per_day, days=days, start_hour=start, hours=hours)
    expected = min(24, per_day * hours) / 24 * days / 7
    assert abs(m.on.mean() - expected) < 0.03
    if days < 7 and start >= 1 and start + per_day * hours < 23:
        weekday = (np.arange(m.n) // 1440 + weekday_of_first_day(year)) % 7
        assert m.on[weekday >= days].sum() == 0


def test_wear_rises_with_use_and_maintenance_resets_it():
    m = Machine("Press", seed=5)
    m.shifts(per_day=2, days=5)
    wear = m.maintenance("die polish", every_hours=300, minutes=120)
    spans = [(start, end) for start, end, kind, _ in m._events if kind == "maintenance"]
    assert 10 <= len(spans) <= 16
    on = m.on
    for start, end in spans:
        assert on[start : end + 1].sum() == 0
        assert wear[start - 1] > 0.7
        assert wear[end + 1] < 0.01
    falls = np.flatnonzero(np.diff(wear) < -1e-9)
    assert {start for start, end in spans if end + 1 < m.n} <= {
        start for start, end in spans for fall in falls if start - 1 <= fall <= end + 1
    }
    assert len(falls) == len(spans)


@settings(max_examples=30, deadline=None)
@given(
    minutes=st.lists(st.floats(1, 90), min_size=1, max_size=6), gap=st.floats(0, 10), products=st.integers(1, 5),
    seed=st.integers(0, 2**31), duty=st.floats(0.1, 1.0),
)  # fmt: skip
def test_batches_run_their_steps_in_order_and_only_while_operated(minutes, gap, products, seed, duty):
    steps = tuple(Step(f"s{i}", length) for i, length in enumerate(minutes))
    rng = generator(seed, "test")
    on = np.repeat(rng.random(60) < duty, 480)
    recipe = schedule_batches(steps, on, gap, products, rng)
    assert recipe.running[~on].sum() == 0
    step, batch = recipe.step, recipe.batch
    assert (np.diff(batch) >= 0).all()
    for number in np.unique(batch[step > 0]):
        run = step[(batch == number) & (step > 0)]
        assert (np.diff(run) >= 0).all()
        assert set(run) == set(range(1, len(steps) + 1))


def test_a_machine_stays_set_up_for_its_product_between_batches():
    m = Machine("Implanter", seed=2)
    m.stops(per_week=12, minutes=30)
    recipe = m.recipe(Step("tune", 5), Step("implant", 25), gap=3, products=4)
    energy = recipe.per_product(0.2)
    first = int(np.argmax(recipe.step > 0))
    changes = first + 1 + np.flatnonzero(np.diff(energy[first:]))
    assert changes.size > 20
    assert (recipe.step[changes] == 1).all()


def test_lag_is_the_first_order_response():
    step = np.concatenate([np.zeros(100), np.ones(900), np.zeros(1000)])
    response = lag(step, 60)
    assert response[100 + 60] == pytest.approx(1 - np.exp(-1), abs=0.01)
    slow_down = lag(step, 20, falling=120)
    assert slow_down[100 + 20] == pytest.approx(1 - np.exp(-1), abs=0.02)
    assert slow_down[1000 + 120] == pytest.approx(np.exp(-1), abs=0.01)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.97])
def test_noise_has_the_deviation_and_memory_it_was_asked_for(memory):
    noise = autoregressive(generator(1, "n"), 400_000, memory, 2.5)
    assert noise.std() == pytest.approx(2.5, rel=0.05)
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(memory, abs=0.01)


def test_a_signal_shows_the_noise_of_its_kind():
    m = Machine("Tank")
    slow = m.signal("T", 50, unit="degC", kind="temperature", low=0, high=100, noise=1, resolution=0.001)
    fast = m.signal("V", 50, unit="mm/s", kind="vibration", low=0, high=100, noise=1, resolution=0.001)
    correlation = {name: np.corrcoef(x[1:], x[:-1])[0, 1] for name, x in (("slow", slow), ("fast", fast))}
    assert correlation["slow"] > 0.85 > 0.6 > correlation["fast"] > 0.3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda m: Machine("x", year=1800), "year must be 1970"),
        (lambda m: m.signal("1st", 1, unit="", kind="flow", low=0, high=2), "a letter"),
        (lambda m: m.signal("A", 1, unit="", kind="colour", low=0, high=2), "kind must be one of"),
        (lambda m: m.signal("A", 1, unit="", kind="flow", low=2, high=2), "low must be below high"),
        (lambda m: m.signal("A", np.nan, unit="", kind="flow", low=0, high=2), "NaN"),
        (lambda m: m.signal("Timestamp", 1, unit="", kind="flow", low=0, high=2), "already a column"),
        (lambda m: m.recipe(), "at least one Step"),
        (lambda m: m.recipe(Step("a", 5)).level(b=1), "unknown step 'b'"),
        (lambda m: m.failure("f", {}), "at least one signal"),
        (lambda m: m.anomalies(), "add signals first"),
        (lambda m: m.anomalies(kinds=["gremlin"]), "unknown kind 'gremlin'"),
        (lambda m: m.anomalies(count=0), "count must be"),
        (lambda m: m.lag(1, 0), "must be > 0"),
        (lambda m: (m.on, m.shifts()), "call it before"),
        (lambda m: m.write("."), "no signals"),
        (lambda m: m.correlated("A", "B", "+"), "is not a signal"),
    ],
)
def test_wrong_use_is_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(Machine("x"))


def test_a_failure_of_an_unknown_signal_is_told(tmp_path: Path):
    m = Machine("x")
    m.failure("f", {"Ghost": 3})
    m.signal("A", 1, unit="", kind="flow", low=0, high=2)
    with pytest.raises(ValueError, match="'Ghost' is not a measured signal"):
        m.write(tmp_path)
