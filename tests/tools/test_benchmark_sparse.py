"""The programs that measure sparse convolution, on few voxels and beside a peer of the test's own."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "benchmark"

PEER = """
import torch
from perception.backbones.sparse_encoder import SparseEncoder
from perception.sparse import SparseTensor

VERSIONS = {"toy": "1"}

class Backbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = SparseEncoder(4)

    def forward(self, features, indices, shape, batch):
        y = self.inner(SparseTensor.of(features, indices, shape, batch))
        return y.features, y.coordinates

def backbone(kind):
    return Backbone()

def voxelise(points, *settings):
    return points[:1]
"""


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "toy_peer.py").write_text(PEER)
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("common", "sparse_clouds", "sparse_conv", "toy_peer"):
        sys.modules.pop(name, None)


def test_rows_of_ours_and_the_peer(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main: Any = runpy.run_path(str(TOOLS / "sparse_conv.py"))["main"]
    out = tools / "figures.json"
    options = ["--cases", "forest", "--forest-voxels", "3000", "--kinds", "second", "--repeats", "1"]
    assert main([*options, "--peer", "toy_peer", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    (case,) = figures["cases"]
    assert case["voxels"] == 3000
    assert figures["peer_versions"] == {"toy": "1"}
    rows = {row["name"]: row for row in case["rows"]}
    assert rows["second forward + backward"]["ratio"] > 0
    assert rows["pairs in blocks"]["peer"] is None
    assert len(rows) == 9
    printed = capsys.readouterr().out
    assert "3,000 voxels" in printed


def test_a_missing_peer_is_named(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main: Any = runpy.run_path(str(TOOLS / "sparse_conv.py"))["main"]
    assert main(["--peer", "no_such_peer"]) == 2
    assert "no_such_peer" in capsys.readouterr().err


def test_estimate_counts_what_the_blocked_kernel_does(tools: Path) -> None:
    import torch

    space = runpy.run_path(str(TOOLS / "embedded_estimate.py"))
    from perception.sparse.table import NeighbourTable

    rows = torch.full((2, 100), -1, dtype=torch.int32)
    rows[0, 3], rows[1] = 5, torch.arange(100, dtype=torch.int32)
    layer = space["Layer"].of(torch.zeros(8, 2, 4), NeighbourTable(rows, 100))
    assert (layer.pairs, layer.blocked_pairs) == (101, 3 * 64)  # one block of the first tap, two of the second
    best, worst = layer.seconds(space["ORIN"])
    assert 0 < best <= worst


def test_voxelisation_of_growing_clouds(tools: Path) -> None:
    main: Any = runpy.run_path(str(TOOLS / "voxelise.py"))["main"]
    out = tools / "figures.json"
    assert main(["--points", "500", "9000", "--repeats", "1", "--peer", "toy_peer", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["points"], row["name"]) for row in rows] == [
        (number, name) for number in (500, 9000) for name in ("hard; sorting", "hard; toy_peer", "dynamic")
    ]
