"""Sparse backbones whole: engines agree, folded normalisation changes nothing, empty and single voxels pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perception.backbones.sparse_encoder import SparseEncoder
from perception.backbones.sparse_resnet import SparseResNet
from perception.backbones.sparse_unet import SparseUNet
from perception.errors import PerceptionError
from perception.sparse import BatchNorm, SparseTensor
from perception.sparse.engines import SETTING

SHAPE = (25, 40, 48)
BACKBONES = {"encoder": SparseEncoder, "resnet": SparseResNet, "unet": SparseUNet}


def voxels(rows: int) -> SparseTensor:
    """Two samples of unequal size and an empty one between them, borders occupied."""
    cells = torch.stack([torch.randint(0, s, (rows,)) for s in SHAPE], 1)
    if rows > 1:
        cells[0], cells[1] = 0, torch.tensor(SHAPE) - 1
    sample = torch.where(torch.arange(rows) < rows // 4, 0, 2)
    coordinates = torch.cat([sample[:, None], cells], 1).unique(dim=0)
    return SparseTensor.of(torch.randn(len(coordinates), 4), coordinates, SHAPE, 3)


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> nn.Module:
    """With statistics and biases that a fresh model does not have."""
    made = BACKBONES[request.param](4)
    for part in made.modules():
        if isinstance(part, BatchNorm):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.normal_(part.bias, 0, 0.1)
    return made.eval()


def test_folded_normalisation_changes_nothing(backbone: nn.Module) -> None:
    x = voxels(1500)
    separate = backbone(x)
    with torch.inference_mode():
        folded = backbone(x)
    assert torch.equal(folded.coordinates, separate.coordinates)
    torch.testing.assert_close(folded.features, separate.features.detach(), rtol=1e-4, atol=1e-5)


def test_engines_agree_forward_and_backward(backbone: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    x, backbone = voxels(1500).map(torch.Tensor.double), backbone.double()
    outputs, gradients = [], []
    for engine in ("reference", "cpu"):
        monkeypatch.setenv(SETTING, engine)
        backbone.zero_grad()
        output = backbone.train()(x.with_features(x.features.clone().requires_grad_())).features
        (output * torch.linspace(-1, 1, output.shape[1])).mean().backward()
        outputs.append(output.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in backbone.parameters() if p.grad is not None]))
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)
    assert bool((gradients[0] != 0).any())


@pytest.mark.parametrize("rows", [0, 1])
def test_no_voxel_and_one(backbone: nn.Module, rows: int) -> None:
    x = voxels(rows)
    output = backbone.train()(x)
    output.features.sum().backward()
    assert bool(output.features.isfinite().all())
    assert (len(output) > 0) == bool(rows)


def test_unet_comes_back_to_its_sites() -> None:
    x = voxels(300)
    assert SparseUNet(4)(x).sites is x.sites
    assert SparseUNet(4, (8,))(x).channels == 8
    with pytest.raises(PerceptionError, match="without levels"):
        SparseUNet(4, ())
