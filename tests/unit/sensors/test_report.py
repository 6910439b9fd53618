"""Report pages: complete, self-contained, true to the data, and safe whatever the names in them."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from defectory.errors import InputError
from defectory.sensors.dataset import CheckResult, Provenance, load_labels, read_manifest, write_manifest
from defectory.sensors.report import plots, write_index, write_report
from defectory.sensors.signals import Machine

HOSTILE = """</script><script>alert(1)</script><img src=x onerror='alert(2)'>"&{{ 7*7 }}\u2028"""


def write_dataset(folder: Path) -> Path:
    m = Machine("Feed Pump", year=2025, seed=3, description="Pumps feed water")
    m.shifts(per_day=2, days=6)
    m.maintenance("seal change", every_hours=900, minutes=300)
    m.failure("bearing", {"Flow": -3, "Heat": 4}, hours=48, count=1)
    m.signal("Flow", 90 * m.lag(m.on, 3), unit="m3/h", kind="flow", low=0, high=200)
    m.signal("Heat", m.lag(30 * m.on, 60) + 20, unit="degC", kind="temperature", low=0, high=120)
    m.signal("Constant", 1, unit="1", kind="state", low=0, high=3)
    m.anomalies(count=14)
    folder.mkdir()
    m.write(folder)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("report") / "feed-pump")
    manifest = read_manifest(folder)
    checks = (CheckResult(name="timestamps", ok=True), CheckResult(name="ranges", ok=False, detail="Flow, row 7"))
    provenance = Provenance(author="bedrock", model_id="us.m", prompt_style="library", script_sha256="ab" * 32)
    write_manifest(folder, manifest.model_copy(update={"contract": checks, "provenance": provenance, "rows": 525_600}))
    write_report(folder)
    return folder


class Page(HTMLParser):
    """Tags with their attributes, and text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in {"script", "style"}

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.text += data


def figures(folder: Path) -> dict:
    html = (folder / "report.html").read_text()
    (line,) = re.findall(r"^const figures = (.*);$", html, re.MULTILINE)
    return json.loads(line)


def unpack(values: dict[str, str]) -> np.ndarray:
    assert values["dtype"] == "f4"
    return np.frombuffer(base64.b64decode(values["bdata"]), "<f4")


def test_the_page_needs_nothing_from_elsewhere(dataset):
    page = Page((dataset / "report.html").read_text())
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            link = attributes.get(name) or ""
            assert not re.match(r"(https?:)?//", link), (tag, link)
            assert not link or (dataset / link).is_file(), link
    assert (dataset / "report.html").stat().st_size < 6_500_000


def test_the_page_tells_what_it_must(dataset):
    text = Page((dataset / "report.html").read_text()).text
    for expected in ("Feed Pump", "Pumps feed water", "525,600 rows", "us.m", "ab" * 32, "Flow, row 7", "1 of 2"):
        assert expected in text


def test_the_year_keeps_every_extreme_and_marks_every_label(dataset):
    figure = figures(dataset)["year"]
    data = pl.read_parquet(dataset / "data.parquet")
    bands = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    for number, name in enumerate(("Flow", "Heat", "Constant")):
        low, high = (unpack(trace["y"]) for trace in bands[2 * number : 2 * number + 2])
        assert low.min() == np.float32(data[name].min())
        assert high.max() == np.float32(data[name].max())
    pins = [x for trace in figure["data"] if trace["mode"] == "markers" for x in trace["x"]]
    labels = load_labels(dataset)
    assert sorted(pins) == sorted(str(start) for start in labels.start)


def test_every_label_has_a_zoom_on_its_own_minutes(dataset):
    labels, zooms = load_labels(dataset), figures(dataset)["zooms"]
    assert len(zooms) == len(labels)
    data = pl.read_parquet(dataset / "data.parquet")
    for label, zoom in zip(labels.itertuples(), zooms, strict=True):
        assert label.signal in zoom["layout"]["title"]["text"]
        values, start = unpack(zoom["data"][0]["y"]), zoom["data"][0]["x0"]
        first = data["Timestamp"].cast(pl.String).str.slice(0, 19).to_list().index(start)
        np.testing.assert_allclose(values, data[label.signal].to_numpy()[first : first + values.size], rtol=1e-6)
        (shape,) = zoom["layout"]["shapes"]
        assert shape["x0"] == str(label.start)


def test_a_constant_signal_has_no_place_in_the_correlations(dataset):
    (trace,) = figures(dataset)["correlation"]["data"]
    assert trace["x"] == ["Flow", "Heat"]
    assert trace["z"][0][0] == 1.0
    assert trace["z"][0][1] > 0.5


def test_hostile_names_stay_text(dataset, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in ("data.parquet", "data.csv", "labels.csv", "events.csv"):
        (folder / name).write_bytes((dataset / name).read_bytes())
    manifest = read_manifest(dataset)
    signals = tuple(
        signal.model_copy(update={"unit": HOSTILE[:24], "description": HOSTILE}) for signal in manifest.signals
    )
    write_manifest(folder, manifest.model_copy(update={"machine": HOSTILE, "description": HOSTILE, "signals": signals}))
    write_report(folder)
    write_index(tmp_path, {HOSTILE: HOSTILE})
    for path in (folder / "report.html", tmp_path / "index.html"):
        page = Page(path.read_text())
        tags = [tag for tag, _ in page.tags]
        assert "img" not in tags
        assert tags.count("script") == (2 if path.name == "report.html" else 0)
        assert HOSTILE in page.text
    assert "<img" not in json.dumps(figures(folder))


def test_the_index_links_every_dataset_and_names_failures(dataset):
    path = write_index(dataset.parent, {"Mixer": "half a year"})
    page = Page(path.read_text())
    assert {"href": "feed-pump/report.html"} in [attributes for _, attributes in page.tags]
    assert "Mixer" in page.text
    assert "half a year" in page.text


def test_an_index_of_nothing_is_a_page(tmp_path):
    assert "0 datasets" in Page(write_index(tmp_path).read_text()).text


def test_a_folder_without_a_manifest_is_told(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json"):
        write_report(tmp_path)


def test_envelopes_hold_every_value():
    values = np.random.default_rng(1).normal(size=1003)
    low, high = plots.envelope(values, 10)
    buckets = np.arange(1003) // 10
    assert (low[buckets] <= values).all() and (values <= high[buckets]).all()
    assert low.size == 101


def test_a_sparkline_of_a_constant_is_a_line():
    assert "nan" not in plots.sparkline(np.ones(5000))
