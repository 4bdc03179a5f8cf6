"""The sample that comes with the library is what its own record says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "perception" / "samples"


def test_the_sample_is_small_and_holds_every_class() -> None:
    facts = json.loads((SAMPLES / "street_000.json").read_text())
    points = np.fromfile(SAMPLES / "street_000.bin", "<f4").reshape(-1, 4)
    assert (SAMPLES / "street_000.bin").stat().st_size <= 700_000
    assert len(points) == facts["points"]
    assert np.isfinite(points).all()
    assert {o["class"] for o in facts["objects"]} == {"Car", "Pedestrian", "Cyclist"}


def test_the_recorded_command_makes_the_same_boxes(tmp_path: Path) -> None:
    facts = json.loads((SAMPLES / "street_000.json").read_text())
    command = facts["made_by"].split()[1:]
    subprocess.run([sys.executable, *command, "--folder", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    again = json.loads((tmp_path / "street_000.json").read_text())
    assert [o["class"] for o in again["objects"]] == [o["class"] for o in facts["objects"]]
    assert np.allclose([o["box"] for o in again["objects"]], [o["box"] for o in facts["objects"]], atol=2e-3)
