from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from perception.errors import PerceptionError
from perception.training.averaging import WeightAverage
from perception.training.fit import train
from perception.training.settings import check_experiment


def test_averages_follow_their_definition() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(model, 0.9)
    expected = None
    for _ in range(4):
        with torch.no_grad():
            model[0].weight.normal_()
            model[1].running_mean.normal_()  # type: ignore[union-attr, operator]
        average.update(model)
        current = torch.cat([model[0].weight.flatten(), model[1].running_mean])  # type: ignore[list-item]
        expected = current.clone() if expected is None else 0.9 * expected + 0.1 * current
    found = torch.cat([average.model[0].weight.flatten(), average.model[1].running_mean])
    torch.testing.assert_close(found, expected)
    assert not average.model.training


def test_the_average_is_what_is_saved(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["training"] |= {"epochs": 4}
    plain = train(check_experiment(tiny, "test"), tmp_path / "plain")
    tiny["training"] |= {"average": 0.0}
    last = train(check_experiment(tiny, "test"), tmp_path / "last")
    tiny["training"] |= {"average": 0.9}
    smooth = train(check_experiment(tiny, "test"), tmp_path / "smooth")
    weights = [load_file(run.weights) for run in (plain, last, smooth) if run.weights]
    key = "head.score.weight"
    assert torch.equal(weights[0][key], weights[1][key]), "a decay of 0 is the last step's weights"
    assert not torch.allclose(weights[0][key], weights[2][key])


def test_impossible_decays(tiny: dict[str, Any]) -> None:
    tiny["training"] |= {"average": 1.0}
    with pytest.raises(PerceptionError, match=r"training.average = 1.0"):
        check_experiment(tiny, "test")
