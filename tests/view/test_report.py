"""The report is one file that needs nothing beside it and shows text as text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from perception.boxes import Boxes3D
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.results import Detections
from perception.simulate.dataset import StreetDataset
from perception.view.report import ROWS, write_report

EVIL = '<script>alert("&")</script>'


class Outline(HTMLParser):
    """Open tags that were never closed, addresses that point outside, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attributes if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def found(count: int, classes: tuple[str, ...] = ("Car",)) -> Detections:
    values = torch.tensor([[12.25, -3.5, -0.9, 3.9, 1.6, 1.5, 1.5708]]).repeat(count, 1)
    return Detections(Boxes3D(values), torch.full((count,), 0.875), torch.zeros(count, dtype=torch.int64), classes)


def test_table_timing_model_and_facts_are_in_one_file(tmp_path: Path) -> None:
    sample = StreetDataset(1)[0]
    path = write_report(
        tmp_path / "new" / "folder",
        sample.cloud,
        found(2),
        sample.objects,
        timing={"voxels": 0.010, "network": 0.030},
        model_card="trained on streets",
        facts={"file": "street.bin"},
    )
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    page = Outline(path.read_text(encoding="utf-8"))
    assert page.open == []
    for text in (
        "Car",
        "0.875",
        "12.25",
        "-3.50",
        "90°",
        "12.7",
        "10.0 ms",
        "40.0 ms",
        "trained on streets",
        "street.bin",
    ):
        assert text in page.text
    assert len(page.sources) == 2
    for source in page.sources:
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True)[:4] == b"\x89PNG"


def test_text_cannot_become_markup(tmp_path: Path) -> None:
    cloud = PointCloud(torch.rand(10, 3).numpy(), frame=EVIL)
    path = write_report(
        tmp_path, cloud, found(1, (EVIL,)), title=EVIL, timing={EVIL: 1.0}, model_card=EVIL, facts={EVIL: EVIL}
    )
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 7
    assert not re.search(r"https?://", page)


def test_nothing_found_and_very_much_found(tmp_path: Path) -> None:
    cloud = PointCloud(torch.zeros(0, 3).numpy())
    assert "No objects were found" in write_report(tmp_path, cloud, found(0)).read_text(encoding="utf-8")
    many = write_report(tmp_path, cloud, found(ROWS + 5), name="many.html").read_text(encoding="utf-8")
    assert many.count("<tr><td>") == ROWS
    assert f"first {ROWS} of {ROWS + 5}" in many


def test_places_that_cannot_be_written_are_explained(tmp_path: Path) -> None:
    cloud = PointCloud(torch.zeros(0, 3).numpy())
    (tmp_path / "file").write_text("")
    with pytest.raises(PerceptionError, match="cannot be made"):
        write_report(tmp_path / "file" / "below", cloud, found(0))
    with pytest.raises(PerceptionError, match="without a folder"):
        write_report(tmp_path, cloud, found(0), name="../outside.html")
