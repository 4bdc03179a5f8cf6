"""The judge of places runs on generated loops alone, and its figures make a card's scores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from perception.io.weights import Card, save_weights
from perception.models.catalogue import MODELS

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
from card_scores import card_scores  # noqa: E402


def test_random_weights_are_judged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    entry = MODELS["minkloc3dv2-small"]
    weights = tmp_path / "tiny.safetensors"
    save_weights(weights, "minkloc3dv2-small", entry.make(entry.defaults), Card("nothing", "Apache-2.0"))
    command = [sys.executable, str(TOOLS / "evaluate_places.py"), "--model", str(weights), "--out", str(tmp_path)]
    subprocess.run([*command, "--worlds", "1", "--length", "112"], check=True, timeout=300)
    found = json.loads((tmp_path / "places.json").read_text(encoding="utf-8"))
    asked = found["opposite direction"]
    assert (asked["places"], asked["queries"]) == (14, 14)
    assert set(asked["figures"]) == {"these weights", "the same network, random weights", "scan-context"}
    assert all(
        0 <= value <= 100 for figures in asked["figures"].values() for value in figures.values() if value == value
    )
    scores = card_scores([found])
    assert any("these weights" in name for name in scores)
