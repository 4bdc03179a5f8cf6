"""Gradients in stages against those of one large batch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from perception.losses.places import truncated_smooth_ap
from perception.models.hotformerloc import HOTFormerLoc, HOTFormerLocConfig
from perception.models.minkloc3dv2 import MinkLoc3Dv2, MinkLoc3Dv2Config
from perception.points import PointCloud
from perception.training.multistage import multistage_backward

SMALL = HOTFormerLocConfig(
    depth=6, window=8, channels=(16, 32), heads=(2, 4), blocks=(2, 2), pooled=(8, 4, 4), descriptor=32, windows="cloud"
)
PLACE = torch.arange(6) // 2
SAME = (PLACE[:, None] == PLACE) & ~torch.eye(6, dtype=torch.bool)


def model(drop_path: float) -> HOTFormerLoc:
    torch.manual_seed(2)
    return HOTFormerLoc(replace(SMALL, drop_path=drop_path)).train()


def clouds() -> list[PointCloud]:
    generator = torch.Generator().manual_seed(0)
    return [PointCloud(torch.randn(120 + 10 * n, 3, generator=generator).numpy()) for n in range(6)]


def loss(descriptors: Tensor) -> Tensor:
    return truncated_smooth_ap(descriptors, SAME, PLACE[:, None] != PLACE, temperature=0.3)


def gradients(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_equal_to_one_large_batch() -> None:
    network = model(0.0)
    loss(network(network.voxelise(network.points(clouds())))).backward()
    wanted = gradients(network)
    network.zero_grad()
    given = clouds()
    value, descriptors = multistage_backward(network, [given[:1], given[1:4], given[4:]], loss)
    found = gradients(network)
    assert found.keys() == wanted.keys() == dict(network.named_parameters()).keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3)
    assert not descriptors.requires_grad
    torch.testing.assert_close(value, loss(descriptors))


def test_both_passes_leave_the_same_layers_out() -> None:
    """With random drops, the gradients are those of the very descriptors that the loss saw."""
    given, seen = clouds(), []
    network = model(0.5)
    hook = network.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().clone()))
    torch.manual_seed(7)
    multistage_backward(network, [given[:3], given[3:]], loss)
    after = torch.rand(3)
    found = gradients(network)
    hook.remove()
    first, second = torch.cat(seen[:2]), torch.cat(seen[2:])
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-5)  # gradients may choose other kernels

    network.zero_grad()
    torch.manual_seed(7)
    together = torch.cat([network(network.voxelise(network.points(part))) for part in (given[:3], given[3:])])
    assert torch.equal(after, torch.rand(3))  # the stream of random numbers goes on as after one pass
    loss(together).backward()
    whole = network.eval()(network.voxelise(network.points(given)))
    assert (together - whole).abs().max() > 1e-3  # so that something was left out
    for name, gradient in gradients(network).items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3)


def test_running_statistics_are_those_of_one_pass() -> None:
    torch.manual_seed(3)
    network = MinkLoc3Dv2(MinkLoc3Dv2Config(step=0.2, planes=(8, 8, 8, 8), descriptor=16)).train()
    given, state = clouds(), {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        for part in (given[:3], given[3:]):
            network(network.voxelise(network.points(part)))
    wanted = {name: value.clone() for name, value in network.named_buffers()}
    network.load_state_dict(state)
    multistage_backward(network, [given[:3], given[3:]], loss)
    for name, value in network.named_buffers():
        torch.testing.assert_close(value, wanted[name])
    assert all(p.grad is not None for p in network.parameters())
