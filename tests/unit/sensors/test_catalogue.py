"""Every entry of the catalogue: units and ranges that fit the kind, and a year of data that passes the contract."""

import re

import pytest
import yaml

from defectory.errors import DefectoryError, InputError
from defectory.sensors.authors import ScriptTask
from defectory.sensors.authors.catalogue import CatalogueAuthor, class_name, render
from defectory.sensors.catalogue import find_industry, industries, machines, read_machines
from defectory.sensors.contract import check_dataset
from defectory.sensors.dataset import read_manifest
from defectory.sensors.machines import unique_slugs
from defectory.sensors.policy import check_script

ENTRIES = [
    pytest.param(industry.key, entry, id=f"{industry.key}/{slug}")
    for industry in industries()
    for entry, slug in zip(
        machines(industry.key), unique_slugs([entry.name for entry in machines(industry.key)]), strict=True
    )
]
TIME = r"(s|min|h|d)"
UNITS = {
    "temperature": r"degC|K",
    "pressure": r"(m|k|M|h)?Pa|(m|u)?bar|[mun]?Torr|psi|mmH2O|mmHg",
    "flow": rf"(sccm|slm|m?L|k?Nm3|m3|kg|g|t|cm3|mg|L_n)(/{TIME})?",
    "level": r"%|m?m|cm|m3|L|t|kg|g|um|nm|g/m2?|kN|Ah|min|s|1",
    "speed": r"rpm|krpm|(m|mm|cm|um)/(s|min|h)|k?Hz|1/(s|min|h)|strokes/min|%",
    "current": r"(m|u|n|k)?A",
    "voltage": r"(m|k)?V",
    "power": r"(k|m|M)?W|J|kVA|dBm|kvar",
    "vibration": r"mm/s|m/s2|g|um|mm|m?bar",
    "torque": r"(m|k|c)?Nm|%",
    "force": r"(m|k|M|c)?N(/(mm?|cm))?|daN|m?g|t",
    "position": r"%|(m|u|n)?m|deg|cm|1",
    "humidity": r"%|%RH|g/kg",
    "count": r"1|[a-z0-9/_. ]+",
    "state": r"1",
}
PHYSICAL_ZERO = {"flow", "speed", "vibration"}


def test_ten_industries_with_a_dozen_machines_each():
    keys = {industry.key for industry in industries()}
    assert keys >= {
        "semiconductor", "automotive", "food-and-beverage", "pharmaceutical", "paper", "steel", "plastics", "textile",
        "battery", "chemical",
    }  # fmt: skip
    for industry in industries():
        names = [entry.name for entry in machines(industry.key)]
        assert len(names) >= 12, industry.key
        assert len({name.casefold() for name in names}) == len(names)


def test_machines_of_an_industry_differ_in_their_signals():
    for industry in industries():
        signals = [frozenset(signal.name for signal in entry.signals) for entry in machines(industry.key)]
        for number, mine in enumerate(signals):
            for other in signals[number + 1 :]:
                assert len(mine & other) <= 0.6 * min(len(mine), len(other)), (industry.key, mine & other)


@pytest.mark.parametrize("name", ["semiconductor", "Semiconductor", "WAFER  FAB", "Food & Beverage", "food/beverage"])
def test_industries_are_found_by_any_of_their_names(name):
    assert find_industry(name).key in {"semiconductor", "food-and-beverage"}


def test_an_unknown_industry_lists_what_there_is_and_names_the_other_author():
    with pytest.raises(InputError, match=r"semiconductor, automotive.*bedrock"):
        CatalogueAuthor().list_machines("submarines", 3)


def test_fewer_machines_than_asked_are_told():
    listing = CatalogueAuthor().list_machines("steel", 50)
    assert len(listing.names) < 50
    assert "50 asked" in listing.note
    assert CatalogueAuthor().list_machines("steel", 3).note == ""


def test_an_unknown_machine_lists_the_known_ones():
    with pytest.raises(InputError, match="Plasma Etcher"):
        CatalogueAuthor().write_script(ScriptTask("semiconductor", "Time Machine", 2025, 1))


def test_a_machine_that_failed_is_tried_with_the_next_seed():
    author, task = CatalogueAuthor(), ScriptTask("semiconductor", "Plasma Etcher", 2025, 1)
    repaired = author.repair_script(task, author.write_script(task), ["labels overlap"])
    assert repaired == author.write_script(ScriptTask("semiconductor", "Plasma Etcher", 2025, 2))
    assert repaired != author.write_script(task)


@pytest.mark.parametrize("name", ["3D Printer", "Ofen", "熱処理炉", "import", "a'b\"c\\", "../etc"])
def test_any_name_makes_a_class_name(name):
    assert class_name(name).isidentifier()


def test_rendered_scripts_hold_names_as_text_only():
    entry = machines("semiconductor")[0].model_copy(update={"name": 'x""") or __import__("os").system("id") #'})
    source = render(entry, "steel", 2025, 1)
    compile(source, "script", "exec")
    assert "__import__" not in re.sub(r"'(?:[^'\\]|\\.)*'", "", source.split("class ", 1)[1])


@pytest.mark.parametrize(("industry", "entry"), ENTRIES)
def test_units_and_ranges_fit_the_kind(industry, entry):
    for signal in entry.signals:
        assert signal.low < signal.high
        if signal.kind in UNITS:
            assert re.fullmatch(UNITS[signal.kind], signal.unit), (signal.name, signal.kind, signal.unit)
        if signal.kind in PHYSICAL_ZERO and signal.unit != "Hz":  # a frequency may have a band, as a resonance has
            assert signal.low <= 0, signal.name
        if signal.kind == "temperature":
            assert signal.low >= (0 if signal.unit == "K" else -273.15)
        if signal.unit in {"%", "%RH"}:
            assert signal.high <= 400
        if signal.noise is not None and signal.kind not in {"state", "count"}:
            assert 0 < signal.noise < 0.1 * (signal.high - signal.low), signal.name


# A year takes seconds: every eighth machine here, of every industry at least one, all of them by `make drills`.
@pytest.mark.parametrize(("industry", "entry"), ENTRIES[::8])
def test_a_year_of_it_passes_the_contract(industry, entry, tmp_path, monkeypatch):
    assert_a_year_passes(industry, entry, tmp_path, monkeypatch)


def assert_a_year_passes(industry, entry, tmp_path, monkeypatch):
    source = CatalogueAuthor().write_script(ScriptTask(industry, entry.name, 2025, 7)).source
    assert check_script(source) == []
    monkeypatch.chdir(tmp_path)
    exec(compile(source, entry.name, "exec"), {"__name__": "__main__"})
    report = check_dataset(tmp_path)
    assert report.ok, "\n".join(report.failures)
    assert read_manifest(tmp_path).machine == entry.name


# ------------------------------------------------------------------ a file that somebody wrote


PRESS = {
    "name": "Hydraulic Press",
    "description": "Four-column press that deep-draws body panels.",
    "maintenance": [{"id": "oil_age", "name": "oil change", "every_hours": 900, "minutes": 240}],
    "failures": [
        {
            "id": "pump",
            "name": "main pump",
            "hours": 72,
            "repair_minutes": 480,
            "effects": {"Signal_0": 3, "Signal_1": 4},
        }
    ],
    "signals": [
        {
            "name": f"Signal_{number}",
            "unit": "bar",
            "kind": "pressure",
            "low": 0,
            "high": 400,
            "description": "Outlet of the pump",
            "value": "20 * on",
        }
        for number in range(6)
    ],
    "correlations": [["Signal_0", "+", "Signal_1"]],
}


def written(tmp_path, entries):
    path = tmp_path / "press.yaml"
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    return path


def test_a_file_of_machines_is_read(tmp_path):
    [press] = read_machines(written(tmp_path, [PRESS]))

    assert (press.name, len(press.signals)) == ("Hydraulic Press", 6)


def test_every_fault_is_named_with_file_machine_signal_and_rule(tmp_path):
    # Given two machines: one with two faults in its signals and one outside of them, one with too few signals
    signals = [dict(signal) for signal in PRESS["signals"]]
    signals[1] |= {"description": "Tank", "value": "20 *"}
    faulty = PRESS | {"signals": signals, "shifts": {"days": 8}}
    sparse = {key: value for key, value in PRESS.items() if key != "name"} | {"signals": PRESS["signals"][:2]}
    path = written(tmp_path, [faulty, sparse])
    # When they are read
    with pytest.raises(DefectoryError) as raised:
        read_machines(path)
    # Then each fault is there once, and no other: that the faulty signal leaves too few is no fault of its own
    first, *faults = str(raised.value).splitlines()
    assert first == f"catalogue file {path}:"
    assert [fault.strip().partition(", got")[0] for fault in faults] == [
        "machine 'Hydraulic Press', shifts, days: Input should be less than or equal to 7",
        "machine 'Hydraulic Press', signals 'Signal_1', description: String should have at least 8 characters",
        "machine 'Hydraulic Press', signals 'Signal_1', value: is no Python expression (invalid syntax); "
        "quote it in the file",
        "machine 2, name: Field required",
        "machine 2, signals: must be at least 6",
    ]
    assert faults[1].endswith("got 'Tank'")
    assert faults[-1].endswith("got 2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: Press\n", "must be a list of machines"),
        ("- {name: [}\n", "cannot be read as YAML"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_list_of_machines_is_named(tmp_path, content, message):
    path = tmp_path / "press.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DefectoryError, match=message) as raised:
        read_machines(path)
    assert str(path) in str(raised.value)
