"""Averages of several runs' weights: the mean, statistics that belong to it, the greedy choice, and what is refused."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.io.weights import Card, read_header, save_weights
from perception.models.catalogue import MODELS
from perception.models.loading import load
from perception.points import PointCloud
from perception.training.soup import averaged, estimate_statistics, greedy_soup, read_ingredients

SMALL: dict[str, Any] = {
    "point_range": (0.0, -12.8, -3.0, 25.6, 12.8, 1.0),
    "voxel_size": (0.4, 0.4, 4.0),
    "encoder_channels": 8,
    "layers": (0, 0, 0),
    "filters": (8, 8, 8),
    "up_filters": (8, 8, 8),
}


def make(seed: int, name: str = "pointpillars-small", **changes: Any) -> Any:
    torch.manual_seed(seed)
    chosen = MODELS[name]
    return chosen.make(replace(chosen.defaults, **{**SMALL, **changes})).eval()  # type: ignore[type-var]


def cloud(seed: int, count: int = 800) -> PointCloud:
    generator = np.random.default_rng(seed)
    xyz = generator.uniform([0, -12, -2], [25, 12, 0], (count, 3))
    return PointCloud(xyz, {"intensity": generator.uniform(0, 1, count).astype(np.float32)})


def write(folder: Path, models: list[Any], trained: list[str]) -> list[Path]:
    paths = [folder / f"run{number}.safetensors" for number in range(len(models))]
    for path, model, text in zip(paths, models, trained):
        save_weights(path, "pointpillars-small", model, Card(text, "CC0"))
    return paths


def test_every_tensor_is_the_mean() -> None:
    models = [make(seed) for seed in range(3)]
    soup = averaged(models)
    states = [model.state_dict() for model in models]
    for key, value in soup.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(state[key] for state in states) / 3)
    assert not soup.training


def test_statistics_are_those_of_the_clouds() -> None:
    """One batch: the normalised output of a layer has mean 0 and variance 1, and nothing else has changed."""
    model, clouds = make(0), [cloud(1), cloud(2)]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fresh = estimate_statistics(model, clouds)
    assert not any(module.training for module in fresh.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    changed = {key for key, value in fresh.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked") for key in changed)
    norm: Any = next(module for module in fresh.modules() if isinstance(module, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda module, given, answer: seen.append(answer))
    with torch.no_grad():
        fresh(fresh.voxelise(fresh.points(clouds)))
    normal = (seen[0] - norm.bias.view(-1, 1, 1)) / norm.weight.view(-1, 1, 1)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(len(norm.bias)), atol=1e-3, rtol=0)
    with pytest.raises(PerceptionError, match="no statistics"):
        estimate_statistics(model, [])


def test_greedy_takes_what_does_not_harm() -> None:
    """Judged by one number: the best alone, then those that keep the mean from falling."""
    models = [make(0) for _ in range(3)]
    for model, value in zip(models, (2.0, 5.0, 8.0)):
        _bias(model).data.fill_(value)
    wanted = 5.5
    soup = greedy_soup(
        models, lambda model: model, lambda model: -abs(float(_bias(model).detach().double().mean()) - wanted)
    )
    assert soup.chosen == (1,)  # 5 and 8 give 6.5, 5 and 2 give 3.5, both further away than 5
    soup = greedy_soup(
        models, lambda model: model, lambda model: -max(float(_bias(model).detach().double().mean()) - 6, 0)
    )
    assert soup.chosen == (0, 1, 2)
    assert len(soup.scores) == 5


def _bias(model: Any) -> torch.Tensor:
    return next(value for key, value in model.named_parameters() if key.startswith("head") and key.endswith("bias"))


def test_runs_that_differ_are_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path, [make(0), make(1, filters=(8, 8, 16))], ["a", "b"])
    with pytest.raises(PerceptionError, match=r"config\.filters"):
        read_ingredients([one, two])
    with pytest.raises(PerceptionError, match="two or more"):
        read_ingredients([one])
    kinds = MODELS["pointpillars-small"].defaults.classes  # type: ignore[attr-defined]
    other = make(1, classes=(kinds[0], replace(kinds[1], name="Van"), kinds[2]))
    save_weights(two, "pointpillars-small", other, Card())
    with pytest.raises(PerceptionError, match="classes"):
        read_ingredients([one, two])
    two.write_bytes(two.read_bytes()[:1000])
    with pytest.raises(PerceptionError):
        read_ingredients([one, two])


@pytest.fixture
def average(monkeypatch: pytest.MonkeyPatch) -> Any:
    tools = Path(__file__).resolve().parents[2] / "tools"
    monkeypatch.syspath_prepend(str(tools))
    return runpy.run_path(str(tools / "average_weights.py"))["main"]


def test_the_tool_writes_a_card_of_all_runs(tmp_path: Path, average: Any, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write(tmp_path, [make(0), make(1)], ["street seed 1: 4 scenes", "kitti 000001; street seed 1: 4 scenes"])
    out = tmp_path / "soup.safetensors"
    given = [*map(str, paths), "--statistics", "street:", "--frames", "3", "--out", str(out)]
    assert average(given) == 0
    card = read_header(out).card
    assert card.trained_on == "street seed 1: 4 scenes; kitti 000001"
    assert "run0.safetensors" in card.source
    assert "run1.safetensors" in card.source
    assert load(out).classes == ("Car", "Pedestrian", "Cyclist")
    assert average([str(paths[0]), "--statistics", "street:", "--out", str(out)]) == 2
    assert average([*given, "--greedy", "street:"]) == 2
    assert "error:" in capsys.readouterr().err
