"""The contact sheet: complete, self-contained, safe, and in a real browser where there is one."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from defectory.datasets.annotations import decode_runs
from defectory.images import contact_sheet as module
from defectory.images.contact_sheet import contact_sheet
from defectory.images.items import Item, ItemRecord
from defectory.images.synthesis import make_item, request_of
from defectory.vision.photos import Photo
from tests.support import browser
from tests.unit.images.conftest import Scripted, part
from tests.unit.images.test_assembly import FAILED, GATE

HOSTILE = "<img src=x onerror=alert(1)>'\"&.png"


@pytest.fixture(scope="module")
def made() -> tuple[list[ItemRecord], dict[str, bytes]]:
    """Three scratches and two dents, on photos with hostile names."""
    records, files = [], {}
    for seed, defect in enumerate(["scratch", "dent", "scratch", "dent", "scratch"]):
        item = Item(renderer="procedural", defect=defect, seed=seed, source=f"{seed}{HOSTILE}")
        one = make_item(item, Scripted(), Photo(item.source, part(seed), f"{seed:0>64}"), request_of(item))
        records.append(one.record)
        files |= one.files
    return records, files


def data(page: bytes) -> list[dict]:
    return json.loads(re.search(rb'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1))


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_from_elsewhere_and_names_stay_text(made):
    page = contact_sheet([*made[0], FAILED], made[1].__getitem__, title=HOSTILE, gate=GATE).decode()
    tags = Tags(page).tags
    addresses = [each.get(name) or "" for _, each in tags for name in ("src", "href", "action")]
    assert all(address.startswith(("data:", "#")) for address in addresses if address)
    (policy,) = [each["content"] for tag, each in tags if each.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert data(page.encode())[0]["source"] == f"0{HOSTILE}"


def test_every_item_is_accounted_for(made):
    page = contact_sheet([*made[0], FAILED], made[1].__getitem__, title="Set").decode()
    assert "5 pictures of 6 asked for" in page
    assert '<output id="count-made">5</output>' in page
    assert '<output id="count-failed">1</output>' in page
    assert "no place" in page
    assert [each["id"] for each in data(page.encode())] == [record.id for record in made[0]]
    assert "Nobody has measured" in page


def test_the_gate_is_told_with_its_figures(made):
    page = contact_sheet(made[0], made[1].__getitem__, title="Set", gate=GATE).decode()
    assert "kept: they do" in page
    assert all(figure in page for figure in ("0.750", "0.900", "+0.150", "+0.100 to +0.200"))
    unknown = GATE.model_copy(update={"decision": "unmeasured", "figures": {}, "reason": "too few real defects"})
    assert "too few real defects" in contact_sheet(made[0], made[1].__getitem__, title="", gate=unknown).decode()


def test_outlines_go_around_the_masks(made):
    for record, picture in zip(made[0], data(contact_sheet(made[0], made[1].__getitem__, title="")), strict=True):
        outline = np.zeros((record.height, record.width), np.uint8)
        for ring in picture["outline"].split("M")[1:]:
            points = [tuple(map(float, point.split())) for point in ring.rstrip("Z").split("L")]
            cv2.fillPoly(outline, [np.rint(points).astype(np.int32)], 1)
        mask = decode_runs(record.runs, record.width, record.height) > 0
        assert outline[mask].all()
        assert outline.sum() < 2.2 * mask.sum()


def test_a_large_dataset_shows_as_many_of_each_kind(made, monkeypatch):
    monkeypatch.setattr(module, "MOST_PICTURES", 3)
    page = contact_sheet(made[0], made[1].__getitem__, title="")
    assert sorted(each["kind"] for each in data(page)) == ["dent", "scratch", "scratch"]
    assert b"2 more pictures" in page


def test_nothing_made_is_a_page_too():
    assert b"0 pictures of 1 asked for" in contact_sheet([FAILED], {}.__getitem__, title="Set")


@browser.needs_browser
def test_in_a_browser_kinds_are_filtered_ordered_and_opened(made, tmp_path):
    records, files = made
    faint = records[2].model_copy(update={"severity": 0.1, "parameters": {"model_seed": 4_294_967_294}})
    page = tmp_path / "sheet.html"
    page.write_bytes(contact_sheet([*records[:2], faint, *records[3:]], files.__getitem__, title="Set"))
    fragment = f"kind=scratch&order=faint&view=closeup&open={faint.id}"
    command = browser.command(tmp_path, "--virtual-time-budget=2000", "--dump-dom", f"{page.as_uri()}#{fragment}")
    finished = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env=browser.environment(tmp_path)
    )
    tags = Tags(finished.stdout).tags
    assert [each["data-id"] for _, each in tags if "data-id" in each] == [faint.id, records[0].id, records[4].id]
    assert any(tag == "dialog" and "open" in each for tag, each in tags)
    assert ">3 pictures<" in finished.stdout
    assert f">{faint.id}</dd>" in finished.stdout
    assert ">4294967294</dd>" in finished.stdout
    assert Path(page).stat().st_size < 200_000
