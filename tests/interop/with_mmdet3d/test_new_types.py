"""Encoders that mmdet3d does not have, in its configurations: whole detectors, each trained one step by mmengine."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip(
    "mmengine", reason="mmdet3d is not installed here: make test-mmdet3d runs these tests in an environment of its own"
)

import torch
from both_ways import CENTRES, CONFIGS, PILLARS, SECOND, Case, batch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

HEAD = "_base_ = [{base!r}]\ncustom_imports = dict(imports=['perception.interop.mmdet3d'])\n"
FOCALS = """
model = dict(middle_encoder=dict(
    _delete_=True, type='FocalsConvEncoder', in_channels=4, sparse_shape=[41, 1600, 1408]))
"""
DSVT = """
model = dict(middle_encoder=dict(
    _delete_=True, type='DSVTEncoder', in_channels=64, sparse_shape=[1, 496, 432], stages=[dict(blocks=2)]))
"""
VOXELNEXT = """
model = dict(
    pts_middle_encoder=dict(_delete_=True, type='VoxelNeXtEncoder', in_channels=5, sparse_shape=[41, 1024, 1024]),
    pts_backbone=dict(in_channels=128))
"""


@pytest.mark.parametrize(
    ("case", "text"), [(SECOND, FOCALS), (PILLARS, DSVT), (CENTRES, VOXELNEXT)], ids=["focals", "dsvt", "voxelnext"]
)
def test_a_detector_of_a_configuration_learns(case: Case, text: str, tmp_path: Path) -> None:
    init_default_scope("mmdet3d")
    torch.manual_seed(0)
    path = tmp_path / "config.py"
    path.write_text(HEAD.format(base=str(CONFIGS / case.config)) + text)
    model = MODELS.build(Config.fromfile(path).model).train()
    encoder = getattr(model, "middle_encoder", None) or model.pts_middle_encoder
    assert type(encoder).__module__ == "perception.interop.mmdet3d.backbones"
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    trainer = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3), clip_grad={"max_norm": 10})
    data = batch(case, points=400)
    logged = [model.train_step(data, trainer)["loss"].item() for _ in range(3)]
    assert logged[2] < logged[0]
    still = [name for name, p in encoder.named_parameters() if torch.equal(p, before[name])]
    assert not still
