from __future__ import annotations

from typing import Any

import pytest
import torch

from perception.models.catalogue import MODELS, entry
from perception.training.schedule import make_optimiser, make_schedule
from perception.training.settings import TrainingConfig


def _run(settings: TrainingConfig, steps: int) -> tuple[list[float], list[float]]:
    optimiser = make_optimiser(torch.nn.Linear(2, 2), settings)
    schedule = make_schedule(optimiser, settings, steps)
    rates, momenta = [], []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        momenta.append(optimiser.param_groups[0]["betas"][0])
        optimiser.step()
        schedule.step()
    return rates, momenta


def test_one_cycle_at_start_peak_and_end() -> None:
    rates, momenta = _run(TrainingConfig(learning_rate=0.003), 100)
    peak = rates.index(max(rates))
    assert peak == pytest.approx(39, abs=1)
    assert rates[0] == pytest.approx(0.0003)
    assert rates[peak] == pytest.approx(0.003)
    assert rates[-1] == pytest.approx(0.0003 * 1e-4)
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[peak] == pytest.approx(0.85)
    assert momenta[-1] == pytest.approx(0.95)
    # Half-way up a cosine lies the mean of its ends.
    assert rates[peak // 2] == pytest.approx((0.0003 + 0.003) / 2, rel=0.05)


def test_a_single_step_is_a_schedule_too() -> None:
    assert len(_run(TrainingConfig(), 1)[0]) == 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("decay_norms", [True, False])
def test_all_parameters_are_optimised_once(name: str, decay_norms: bool) -> None:
    chosen = entry(name)
    model: Any = chosen.make(chosen.defaults)
    optimiser = make_optimiser(model, TrainingConfig(decay_norms=decay_norms))
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    decayed = {id(p) for group in optimiser.param_groups if group["weight_decay"] for p in group["params"]}
    norms = {id(p) for p in model.parameters() if p.ndim == 1}
    assert (norms <= decayed) == decay_norms
    assert norms & decayed == (norms if decay_norms else set())
    assert {group["betas"] for group in optimiser.param_groups} == {(0.95, 0.99)}


def test_weight_decay_is_decoupled_from_the_gradient() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    before = model.weight.detach().clone()
    optimiser = make_optimiser(model, TrainingConfig(learning_rate=0.5, weight_decay=0.1))
    model.weight.grad = torch.zeros_like(model.weight)
    optimiser.step()
    torch.testing.assert_close(model.weight.detach(), before * (1 - 0.5 * 0.1))
