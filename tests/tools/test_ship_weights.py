"""A run's weights get their card."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from perception.io.weights import Card, read_header, save_weights
from perception.models.catalogue import MODELS

TOOL = Path(__file__).resolve().parents[2] / "tools" / "ship_weights.py"


@pytest.fixture
def ship() -> Any:
    return runpy.run_path(str(TOOL))["main"]


def test_card_says_what_was_trained_on(tmp_path: Path, ship: Any) -> None:
    run = tmp_path / "run"
    run.mkdir()
    chosen = MODELS["pointpillars-small"]
    save_weights(run / "final.safetensors", "pointpillars-small", chosen.make(chosen.defaults), Card("kitti 000001"))
    scores = {"Car_bev/moderate_R40": 71.25, "Car_3d/moderate_R40": 60.0, "Cyclist_bev/moderate_R40": 0.0}
    perfect = {"Car_bev/moderate_R40": 97.5, "Car_3d/moderate_R40": 97.5, "Cyclist_bev/moderate_R40": 0.0}
    figures = {"frames": 3, "frames_trained_on": 3, "average_precision": scores, "perfect_boxes": perfect}
    evaluation = tmp_path / "evaluation.json"
    evaluation.write_text(json.dumps(figures))
    out = tmp_path / "out"
    options = ["--licence", "CC0", "--limits", "none known", "--evaluation", str(evaluation), "--folder", str(out)]
    assert ship([str(run), *options]) == 0
    card = read_header(out / "pointpillars-small.safetensors").card
    assert (card.trained_on, card.licence, card.limits) == ("kitti 000001", "CC0", "none known")
    assert list(card.scores.values()) == [71.25, 60.0]  # no cyclist could have been found
    text = (out / "pointpillars-small.md").read_text()
    assert "3 of them TRAINED ON | 71.2 |" in text
    assert "CC0" in text


def test_a_folder_without_a_run(tmp_path: Path, ship: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ship([str(tmp_path), "--licence", "a", "--limits", "b", "--folder", str(tmp_path / "out")]) == 2
    assert "no file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
