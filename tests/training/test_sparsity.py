"""2:4 sparsity by SR-STE: masks, the update against its equation, and what training leaves in its file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perception.config import parse
from perception.errors import PerceptionError
from perception.models.loading import load
from perception.training.fit import train
from perception.training.settings import Experiment, TrainingConfig
from perception.training.sparsity import TwoOfFour, is_two_of_four, sparse_layers, two_of_four


@pytest.mark.parametrize("shape", [(3, 8), (5, 4, 1, 1), (2, 12, 3, 3)])
def test_the_two_largest_of_four_inputs_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    mask = two_of_four(weight)
    for out, group in itertools.product(range(shape[0]), range(shape[1] // 4)):
        four = (
            weight[out, 4 * group : 4 * group + 4].flatten(1) if len(shape) > 2 else weight[out].view(-1, 4, 1)[group]
        )
        kept = mask[out, 4 * group : 4 * group + 4].reshape(4, -1)
        for column in range(four.shape[1]):
            largest = four[:, column].abs().argsort(descending=True)[:2]
            assert sorted(kept[:, column].nonzero()[:, 0].tolist()) == sorted(largest.tolist())
    assert is_two_of_four(weight * mask)
    assert not is_two_of_four(weight)


def test_equal_and_zero_weights_keep_two() -> None:
    assert (two_of_four(torch.zeros(3, 8)).view(3, 2, 4).sum(-1) == 2).all()
    with pytest.raises(PerceptionError, match="multiple of 4"):
        two_of_four(torch.ones(2, 6))


def test_a_step_is_the_papers() -> None:
    """W - rate (gradient at the masked weights + lambda (1 - mask) W), the masked product in the model afterwards."""
    torch.manual_seed(0)
    layer, x = nn.Linear(8, 3), torch.randn(5, 8)
    dense = layer.weight.detach().clone()
    mask = two_of_four(dense)
    masked = (dense * mask).requires_grad_()
    nn.functional.linear(x, masked, layer.bias).square().sum().backward()
    assert masked.grad is not None
    wanted = dense - 0.01 * (masked.grad + 0.3 * ~mask * dense)

    callback = TwoOfFour(0.3)
    callback.take(layer)
    assert torch.equal(layer.weight.detach(), dense * mask)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
    layer(x).square().sum().backward()
    callback.before_step()
    optimiser.step()
    callback.after_step()
    torch.testing.assert_close(callback.state_dict()["dense"][".weight"], wanted)
    torch.testing.assert_close(layer.weight.detach(), wanted * two_of_four(wanted))


def test_saved_weights_are_sparse_and_resuming_keeps_the_dense(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["training"] |= {"two_of_four": 0.0002, "checkpoint_steps": 4}
    experiment = parse(Experiment, tiny, "test")
    outcome = train(experiment, tmp_path / "run")
    assert outcome.weights is not None
    whole = load(outcome.weights)
    layers = dict(sparse_layers(whole))
    assert len(layers) >= 4
    assert all(is_two_of_four(layer.weight) for layer in layers.values())
    assert all((layer.weight == 0).float().mean() < 0.51 for layer in layers.values())
    resumed = train(experiment, tmp_path / "run", resume=True)
    assert resumed.weights is not None
    again = load(resumed.weights).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in whole.state_dict().items())


def test_an_average_of_sparse_weights_is_refused() -> None:
    with pytest.raises(PerceptionError, match="averages of sparse weights are dense"):
        TrainingConfig(two_of_four=0.0002, average=0.99)
    with pytest.raises(PerceptionError, match="no Linear or Conv2d"):
        TwoOfFour(0.0).take(nn.Sequential(nn.Linear(3, 4)))
