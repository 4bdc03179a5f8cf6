"""Which shipped detector scans get that nobody chose a model for."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from perception.commands import default_model
from perception.commands.default_model import AHEAD, ROUND, choose_detector
from perception.commands.inputs import find_inputs
from perception.io.writers import write_points
from perception.points import PointCloud
from perception.simulate.dataset import StreetDataset


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_model, "shipped_weights", lambda: {AHEAD: Path("a"), ROUND: Path("b")})


def chosen(*paths: Path, calib: Path | None = None) -> str:
    return choose_detector(find_inputs([str(p) for p in paths]), Namespace(calib=calib, input_format=None))[0]


@pytest.mark.usefixtures("both")
def test_by_what_lies_behind_the_sensor(tmp_path: Path) -> None:
    for name, camera_view in (("round", False), ("ahead", True)):
        write_points(tmp_path / f"{name}.ply", StreetDataset(1, 3, camera_view)[0].cloud)
    assert chosen(tmp_path / "round.ply") == ROUND
    assert chosen(tmp_path / "ahead.ply") == AHEAD
    assert chosen(tmp_path / "round.ply", calib=tmp_path) == AHEAD


@pytest.mark.usefixtures("both")
def test_files_that_cannot_be_read_or_are_empty_do_not_decide(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"123")
    write_points(tmp_path / "b.ply", PointCloud(np.zeros((0, 3), np.float32), {}))
    write_points(tmp_path / "c.ply", StreetDataset(1, 3)[0].cloud)
    assert chosen(*(tmp_path / name for name in ("a.bin", "b.ply", "c.ply"))) == AHEAD
    assert chosen(tmp_path / "a.bin") == ROUND


def test_only_what_the_package_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(default_model, "shipped_weights", lambda: {AHEAD: Path("a")})
    write_points(tmp_path / "round.ply", StreetDataset(1, 3, False)[0].cloud)
    assert chosen(tmp_path / "round.ply") == AHEAD
