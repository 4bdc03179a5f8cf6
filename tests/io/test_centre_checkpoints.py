"""Official checkpoints of centre heads load under their names, strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.openpcdet.importer import load_official
from perception.models.catalogue import MODELS

KEY_LISTS = [
    ("centerpoint", "pcdet__cbgs_voxel0075_res3d_centerpoint"),
    ("centerpoint-nuscenes-10cm", "pcdet__cbgs_voxel01_res3d_centerpoint"),
    ("centerpoint-nuscenes-pillars", "pcdet__cbgs_dyn_pp_centerpoint"),
    ("centerpoint-waymo", "pcdet_waymo__centerpoint"),
    ("centerpoint-waymo-plain", "pcdet__centerpoint_without_resnet"),
    ("centerpoint-waymo-pillars", "pcdet__centerpoint_pillar_1x"),
    ("voxelnext", "pcdet__cbgs_voxel0075_voxelnext"),
    ("voxelnext", "vnext__cbgs_voxel0075_voxelnext_doubleflip"),
    ("voxelnext-kernel3", "vnext__cbgs_voxel0075_voxelnext_headkernel3"),
    ("voxelnext-planar", "vnext__cbgs_voxel0075_voxelnext2d"),
    ("voxelnext-waymo", "vnext__voxelnext_ioubranch"),
    ("voxelnext-waymo-large", "vnext__voxelnext_ioubranch_large"),
    ("voxelnext-waymo-planar", "pcdet__voxelnext2d_ioubranch"),
    ("voxelnext-argoverse2", "pcdet__cbgs_voxel01_voxelnext"),
]


def official(shared_golden: Path, name: str) -> dict[str, Tensor]:
    """Random tensors under the official names and shapes."""
    state = {}
    for line in (shared_golden / "keys" / f"{name}.txt").read_text().splitlines():
        key, shape = line.split(" ", 1)
        state[key] = torch.rand([int(n) for n in shape.strip("()").split(",") if n.strip()])
    return state


@pytest.mark.parametrize(("name", "keys"), KEY_LISTS)
def test_every_official_key_is_used_once(shared_golden: Path, name: str, keys: str) -> None:
    model = MODELS[name].make(MODELS[name].defaults)
    state = official(shared_golden, keys)
    report = load_official(model, name, state)
    assert report.unused == ("global_step",)
    assert sorted(report.mapped.values()) == sorted(model.state_dict())
    del state["dense_head.heads_list.0.hm.1.bias"]
    with pytest.raises(PerceptionError, match=r"missing head\.tasks\.0\.heatmap"):
        load_official(model, name, state)


def test_sparse_weights_of_kernel_1_are_read_inputs_first(shared_golden: Path) -> None:
    model = MODELS["voxelnext"].make(MODELS["voxelnext"].defaults)
    state = official(shared_golden, "pcdet__cbgs_voxel0075_voxelnext")
    load_official(model, "voxelnext", state)
    weight = state["dense_head.heads_list.1.dim.1.weight"]
    matrix = model.state_dict()["head.tasks.1.size.out.weight"]
    assert weight.shape == (3, 1, 1, 128)
    for output, inputs in ((0, 0), (2, 1), (1, 100)):
        assert matrix[output, inputs] == weight.flatten()[inputs * 3 + output]
