"""MinkLoc3Dv2 under its official keys against dense convolution with empty cells set to zero after every layer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers import minkloc
from perception.io.importers.importing import import_checkpoint
from perception.models.minkloc3dv2 import MinkLoc3Dv2, MinkLoc3Dv2Config
from perception.points import PointCloud

PLANES = (64, 128, 64, 32)


def official_state(seed: int = 0) -> dict[str, Tensor]:
    """Every key of the published network with its shape, drawn."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"backbone.conv0.kernel": (125, 1, 64), "pooling.pooling.p": (1,)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (channels,)
        shapes[f"{name}.bn.num_batches_tracked"] = ()

    norm("backbone.bn0", 64)
    for number, (before, plane) in enumerate(zip((64, *PLANES), PLANES)):
        shapes[f"backbone.convs.{number}.kernel"] = (8, before, before)
        norm(f"backbone.bn.{number}", before)
        block = f"backbone.blocks.{number}.0"
        shapes[f"{block}.conv1.kernel"], shapes[f"{block}.conv2.kernel"] = (27, before, plane), (27, plane, plane)
        norm(f"{block}.norm1", plane)
        norm(f"{block}.norm2", plane)
        shapes[f"{block}.eca.conv.weight"] = (1, 1, 5 if plane == 128 else 3)
        if before != plane:
            shapes[f"{block}.downsample.0.kernel"] = (before, plane)
            norm(f"{block}.downsample.1", plane)
    for number, plane in enumerate((32, 64, 128)):
        shapes[f"backbone.conv1x1.{number}.kernel"] = (plane, 256)
    for number in range(2):
        shapes[f"backbone.tconvs.{number}.kernel"] = (8, 256, 256)
    return {key: _draw(key, shape, generator) for key, shape in shapes.items()}


def _draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if key.endswith((".p", "running_var", "norm.weight")) or (key.endswith(".weight") and len(shape) == 1):
        return torch.rand(shape, generator=generator) + (2.5 if key.endswith(".p") else 0.5)
    fan = shape[-2] * (6 if len(shape) == 3 and shape[0] > 1 else 1) if len(shape) > 1 else 100
    return torch.randn(shape, generator=generator) * math.sqrt(2 / fan)


class Dense:
    """The published network on grids (1, C, X, Y, Z), one mask of occupied cells a level."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {key: value.double() for key, value in state.items()}

    def kernel(self, key: str) -> Tensor:
        weight = self.state[f"{key}.kernel"]
        if weight.ndim == 2:
            return weight.T[:, :, None, None, None]
        size = round(len(weight) ** (1 / 3))
        return weight.view(size, size, size, *weight.shape[1:]).permute(4, 3, 2, 1, 0)  # (out, in, x, y, z)

    def norm(self, x: Tensor, key: str) -> Tensor:
        part = {name: self.state[f"{key}.bn.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
        return F.batch_norm(x, part["running_mean"], part["running_var"], part["weight"], part["bias"], eps=1e-5)

    def block(self, x: Tensor, mask: Tensor, key: str) -> Tensor:
        y = self.norm(F.conv3d(x, self.kernel(f"{key}.conv1"), padding=1), f"{key}.norm1").relu() * mask
        y = self.norm(F.conv3d(y, self.kernel(f"{key}.conv2"), padding=1), f"{key}.norm2") * mask
        weight = self.state[f"{key}.eca.conv.weight"]
        mean = y.sum((2, 3, 4)) / mask.sum()
        y = y * F.conv1d(mean[:, None], weight, padding=weight.shape[-1] // 2).sigmoid()[0][..., None, None, None]
        if f"{key}.downsample.0.kernel" in self.state:
            x = self.norm(F.conv3d(x, self.kernel(f"{key}.downsample.0")), f"{key}.downsample.1") * mask
        return (x + y).relu() * mask

    def descriptor(self, mask: Tensor) -> Tensor:
        x = self.norm(F.conv3d(mask, self.kernel("backbone.conv0"), padding=2), "backbone.bn0").relu() * mask
        maps = []
        for number in range(4):
            mask = F.max_pool3d(mask, 2)
            x = F.conv3d(x, self.kernel(f"backbone.convs.{number}"), stride=2)
            x = self.block(self.norm(x, f"backbone.bn.{number}").relu() * mask, mask, f"backbone.blocks.{number}.0")
            maps.append((x, mask))
        x = F.conv3d(x, self.kernel("backbone.conv1x1.0"))
        for number in range(2):
            finer, mask = maps[2 - number]
            up = self.kernel(f"backbone.tconvs.{number}").transpose(0, 1)
            x = F.conv_transpose3d(x, up, stride=2) * mask
            x = x + F.conv3d(finer, self.kernel(f"backbone.conv1x1.{number + 1}"))
        exponent = self.state["pooling.pooling.p"]
        return ((x.clamp(min=1e-6) ** exponent * mask).sum((2, 3, 4)) / mask.sum()) ** (1 / exponent)


@torch.no_grad()
def test_official_keys_and_dense_convolution() -> None:
    state = official_state()
    plan = minkloc.plan(state, None, None, "checkpoint")
    model = plan.make()
    report = plan.load(model, state, "checkpoint")
    assert len(report.mapped) == len(state) == len(model.state_dict())
    assert isinstance(model, MinkLoc3Dv2)
    cells = np.random.default_rng(0).integers(0, 32, (250, 3)) // np.array([1, 2, 1])
    mask = torch.zeros(1, 1, 32, 32, 32, dtype=torch.float64)
    mask[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = 1
    clouds = [PointCloud((cells + 0.5) * 0.01), PointCloud((cells[:40] + 0.5) * 0.01 - 0.64)]
    found = model.eval()(model.voxelise(model.points(clouds)))
    wanted = Dense(state).descriptor(mask)
    torch.testing.assert_close(found[:1].double(), wanted, atol=1e-4 * float(wanted.abs().max()), rtol=1e-4)


def test_a_checkpoint_file_is_recognised(tmp_path: Path) -> None:
    path, state = tmp_path / "minkloc3dv2_baseline.pth", official_state()
    torch.save(state, path)
    imported = import_checkpoint(path)
    assert (imported.name, imported.family) == ("minkloc3dv2", "minkloc")
    assert len(imported.report.mapped) == len(state)


def test_other_checkpoints_and_changed_widths_are_refused() -> None:
    state = official_state()
    with pytest.raises(PerceptionError, match=r"backbone\.conv0\.kernel"):
        minkloc.plan({"model.weight": torch.zeros(1)}, None, None, "checkpoint")
    del state["backbone.tconvs.1.kernel"]
    plan = minkloc.plan(state, None, None, "checkpoint")
    with pytest.raises(PerceptionError, match=r"missing backbone\.ups\.1\.weight"):
        plan.load(plan.make(), state, "checkpoint")
    with pytest.raises(PerceptionError, match="levels up"):
        MinkLoc3Dv2(MinkLoc3Dv2Config(top_down=4))
