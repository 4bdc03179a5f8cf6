"""tools/evaluate_flow.py as users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "evaluate_flow.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_baseline_on_generated_streets(tmp_path: Path) -> None:
    told = run("nearest", "--data", "street_flow", "--limit", "1", "--out", str(tmp_path))
    assert told.returncode == 0, told.stderr
    for title in ("three-way", "bucketed by speed", "by distance"):
        assert title in told.stdout
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert values["frames"] == 1
    assert values["method"] == "nearest"


def test_mistakes() -> None:
    assert "did you mean" in run("nearest", "--data", "stret_flow").stderr
    assert "a data set of pairs" in run("nearest", "--data", "street").stderr
    assert "icp-clusters" in run("icp-cluster", "--data", "street_flow", "--limit", "1").stderr
