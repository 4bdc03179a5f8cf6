"""The benchmark of scene flow with a peer that is our own model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PEER = """
from perception.flow_pipeline import perceive_flow
from perception.points import PointCloud
from perception.scan_pair import ScanPair

def build(name, model):
    def run(first, second):
        return perceive_flow(model, [ScanPair(PointCloud(first), PointCloud(second))])[0].flow.numpy()
    return run
"""
TOOL = Path(__file__).resolve().parents[2] / "tools" / "benchmark" / "scene_flow.py"


def test_figures_of_ours_beside_a_peer(tmp_path: Path) -> None:
    (tmp_path / "own_peer.py").write_text(PEER)
    command = [sys.executable, str(TOOL), "--models", "ssf", "--count", "300", "--repeats", "1", "--peer", "own_peer"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "figures.json")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    (model,) = json.loads((tmp_path / "figures.json").read_text())["models"]
    assert model["apart"] == 0
    stages = [row["name"] for row in model["rows"]]
    assert stages == ["points", "voxelise", "encoder", "backbone", "head", "results", "pair"]
