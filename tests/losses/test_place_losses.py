"""The ranking loss against loops over its equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.losses.places import Similarity, self_distillation, truncated_smooth_ap


def by_loops(
    descriptors: np.ndarray,
    positives: np.ndarray,
    negatives: np.ndarray,
    temperature: float,
    closest: int,
    similarity: str,
) -> float:
    def alike(a: int, b: int) -> float:
        if similarity == "cosine":
            return float(descriptors[a] @ descriptors[b])
        return -float(np.sqrt(((descriptors[a] - descriptors[b]) ** 2).sum()))

    def above(q: int, z: int, p: int) -> float:
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, (alike(q, z) - alike(q, p)) / temperature))))

    precisions = []
    for q in range(len(descriptors)):
        mine = sorted(np.flatnonzero(positives[q]), key=lambda z: -alike(q, z))[:closest]
        if not mine:
            continue
        found = []
        for p in mine:
            rank = 1 + sum(above(q, z, p) for z in np.flatnonzero(positives[q]) if z != p)
            found.append(rank / (rank + sum(above(q, z, p) for z in np.flatnonzero(negatives[q]))))
        precisions.append(np.mean(found))
    return 1 - float(np.mean(precisions))


def places(seed: int, number: int = 14) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.randn(number, 6, generator=generator, dtype=torch.float64)
    place = torch.randint(0, 4, (number,), generator=generator)
    unknown = torch.rand(number, number, generator=generator) < 0.15
    same = (place[:, None] == place) & ~torch.eye(number, dtype=torch.bool)
    return torch.nn.functional.normalize(descriptors, dim=1), same & ~unknown, (place[:, None] != place) & ~unknown


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize(("temperature", "closest"), [(0.01, 4), (0.2, 2), (0.5, 30)])
def test_equal_to_loops(similarity: Similarity, temperature: float, closest: int) -> None:
    for seed in range(4):
        descriptors, positives, negatives = places(seed)
        ours = truncated_smooth_ap(descriptors, positives, negatives, temperature, closest, similarity)
        arrays = descriptors.numpy(), positives.numpy(), negatives.numpy()
        assert ours.item() == pytest.approx(by_loops(*arrays, temperature, closest, similarity), abs=1e-4)


def test_gradient_by_differences() -> None:
    descriptors, positives, negatives = places(1, 6)
    descriptors = descriptors.float().requires_grad_(True)

    def loss(values: torch.Tensor) -> torch.Tensor:
        return truncated_smooth_ap(values, positives, negatives, 0.3, 2)

    (gradient,) = torch.autograd.grad(loss(descriptors), descriptors)
    step = torch.zeros_like(descriptors)
    step[2, 3] = 1e-2
    difference = (loss(descriptors + step) - loss(descriptors - step)).item() / 2e-2
    assert gradient[2, 3].item() == pytest.approx(difference, rel=0.05, abs=1e-4)


def test_perfect_and_worst_order() -> None:
    descriptors = torch.tensor([[0.0, 0], [0, 0.1], [5, 0], [5, 0.1]])
    same = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=torch.bool)
    other = ~same & ~torch.eye(4, dtype=torch.bool)
    assert truncated_smooth_ap(descriptors, same, other).item() == pytest.approx(0, abs=1e-6)
    # The one positive is last of three: precision 1 / 3.
    wrong = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    others = ~wrong & ~torch.eye(4, dtype=torch.bool)
    descriptors = torch.tensor([[0.0, 0], [0, 0.1], [5, 0.1], [5, 0]])
    assert truncated_smooth_ap(descriptors + torch.tensor([0, 0]), wrong, others).item() > 0.4


@pytest.mark.parametrize("number", [1, 3])
def test_without_positives_the_loss_is_zero(number: int) -> None:
    descriptors = torch.randn(number, 4, requires_grad=True)
    none = torch.zeros(number, number, dtype=torch.bool)
    loss = truncated_smooth_ap(descriptors, none, ~torch.eye(number, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert descriptors.grad is not None
    assert not descriptors.grad.any()


def test_equal_descriptors_have_finite_gradients() -> None:
    descriptors = torch.ones(4, 3, requires_grad=True)
    same = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=torch.bool)
    truncated_smooth_ap(descriptors, same, ~same & ~torch.eye(4, dtype=torch.bool)).backward()
    assert descriptors.grad is not None
    assert torch.isfinite(descriptors.grad).all()


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(PerceptionError, match="positives of shape"):
        truncated_smooth_ap(torch.zeros(3, 2), torch.zeros(2, 2, dtype=torch.bool), torch.zeros(3, 3, dtype=torch.bool))


def test_self_distillation_is_a_divergence() -> None:
    ours, theirs = torch.randn(5, 8), torch.randn(5, 8)
    p, q = (torch.softmax(values / 3, 1) for values in (ours, theirs))
    wanted = 50 * (q * (q / p).log()).sum() / 5
    torch.testing.assert_close(self_distillation(ours, theirs), wanted)
    assert self_distillation(ours, ours).item() == pytest.approx(0, abs=1e-5)
