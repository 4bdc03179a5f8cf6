"""A run's weights get their card."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.io.weights import Card, read_header, read_model, save_weights
from perception.models.catalogue import MODELS

TOOL = Path(__file__).resolve().parents[2] / "tools" / "ship_weights.py"


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOL.parent))
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


def test_half_the_size_and_the_same_model(tmp_path: Path, ship: Any) -> None:
    torch.manual_seed(0)
    model = MODELS["pointpillars-small"].make(MODELS["pointpillars-small"].defaults)
    save_weights(tmp_path / "final.safetensors", "pointpillars-small", model, Card("nothing"))
    assert ship([str(tmp_path), "--licence", "a", "--limits", "b", "--half", "--folder", str(tmp_path / "out")]) == 0
    small = tmp_path / "out" / "pointpillars-small.safetensors"
    assert small.stat().st_size < 0.55 * (tmp_path / "final.safetensors").stat().st_size
    for (name, ours), other in zip(read_model(small)[0].state_dict().items(), model.state_dict().values()):
        assert ours.dtype == other.dtype
        if ours.ndim > 1:
            torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-6, msg=name)
        else:
            assert torch.equal(ours, other)


def test_scores_of_every_task_have_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOL.parent))
    card_scores = runpy.run_path(str(TOOL.parent / "card_scores.py"))["card_scores"]
    common = {"frames": 4, "frames_trained_on": 0, "data": "made", "method": "runs/x.safetensors"}
    bands = [
        {"near": 0.0, "far": 10.0, "people": 4, "matched": 3, "mpjpe": 0.05},
        {"near": 10.0, "far": 20.0, "people": 0, "matched": 0, "mpjpe": None},
    ]
    keypoints = {**common, "keypoints": {"mpjpe": {"all": 0.06}}, "by_distance": bands}
    flow = {**common, "method": "nearest", "three_way": {"EPE_FD": 0.2, "EPE_FS": 0.01, "EPE_BS": 0.0}}
    trees = {**common, "one_to_one": {"f1": 0.5, "coverage": 0.25}}
    assert card_scores([keypoints, flow, trees]) == {
        "joint error in cm; made; 4 scenes, none trained on": 6.0,
        "people found in %, 0 to 10 m, of 4": 75.0,
        "joint error in cm, 0 to 10 m": 5.0,
        "error in cm on moving things, nearest; made; 4 pairs, none trained on": 20.0,
        "error in cm on things that stand, nearest; made; 4 pairs, none trained on": 1.0,
        "error in cm on background, nearest; made; 4 pairs, none trained on": 0.0,
        "F1 in %, these weights; made; 4 plots, none trained on": 50.0,
        "coverage in %, these weights; made; 4 plots, none trained on": 25.0,
    }


def test_a_folder_without_a_run(tmp_path: Path, ship: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ship([str(tmp_path), "--licence", "a", "--limits", "b", "--folder", str(tmp_path / "out")]) == 2
    assert "no file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
