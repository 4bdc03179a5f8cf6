"""Focals Conv in det3d's form, lidar alone: its own modules' numbers, stored, against ours.

The arrays come from the modules of dvlab-research/FocalsConv's CenterPoint (reader, backbone, neck) with spconv 2.3.8
on the CPU, one thread, on the points and weights of ``foreign_weights``; sorts were stable. Features of rows in one
cell are added up. ``recipe`` is what the authors gave for lidar alone, where proposals and background cells lie in one
cell; ``foreground`` has no background, and so no such cells.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_weights import cloud, drawn, stored_keys
from torch import Tensor

from perception.backbones.focal import importances
from perception.errors import PerceptionError
from perception.io.importers.det3d.importer import plan, read_config
from perception.io.importers.foreign_config import ForeignConfig
from perception.losses.objectness import objectness_loss
from perception.points import PointBatch
from perception.sparse import SparseTensor
from perception.sparse.growth import Merge

FILE = Path(__file__).resolve().parents[1] / "golden" / "det3d-focals-centerpoint.npz"
NEAR = (-9.6, -9.6, -5.0, 9.6, 9.6, 3.0)
NAME = "focals-centerpoint"


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(FILE, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="module")
def state(stored: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in drawn(stored_keys(stored["keys"])).items()}


def imported(state: dict[str, Tensor], **focal: Any) -> Any:
    made = plan(state, NAME, None, "checkpoint", {})
    config = replace(made.config, point_range=NEAR, focal=replace(made.config.focal, **focal))
    model = replace(made, config=config).make().eval()
    report = made.load(model, state, "checkpoint")
    assert sorted(report.mapped.values()) == sorted(model.state_dict())
    return model


def voxels(model: Any) -> SparseTensor:
    # Away from the first cells of each axis: where they are occupied, the published merge adds up different cells.
    values = torch.from_numpy(cloud((-6.6, -6.6, -3.0), (6.6, 6.6, 1.0), 0.075, 138, 2))
    sparse: SparseTensor = model.sparse(
        model.voxelise(PointBatch(values, torch.zeros(len(values), dtype=torch.long), 1))
    )
    return sparse


def close(ours: Tensor, theirs: np.ndarray, tolerance: float = 1e-3) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, atol=tolerance, rtol=tolerance)


def check_stages(model: Any, stored: dict[str, np.ndarray], form: str) -> None:
    with torch.inference_mode():
        maps = model.backbone.stages(voxels(model))
        features = model.bev(model.flatten(model.backbone.out(maps[-1])))
    assert [len(stage) for stage in maps] == stored[f"{form}_sites"].tolist()
    for number, stage in enumerate(maps, start=1):
        close(stage.features.double().sum(0), stored[f"{form}_sums{number}"])
        close(stage.features.double().square().sum(0), stored[f"{form}_squares{number}"])
    close(features[0, ::32, ::4, ::4], stored[f"{form}_features"])


def test_the_recipe_equals_the_published_code_with_cells_doubled(
    state: dict[str, Tensor], stored: dict[str, np.ndarray]
) -> None:
    assert (stored["recipe_doubled"][:3] > 10).all()
    check_stages(imported(state), stored, "recipe")


@pytest.mark.parametrize("merge", ["coordinates", "doubled"])
def test_every_form_equals_the_published_code_where_no_cell_is_doubled(
    state: dict[str, Tensor], stored: dict[str, np.ndarray], merge: Merge
) -> None:
    assert not stored["foreground_doubled"].any()
    check_stages(imported(state, merge=merge, top=False, threshold=0.0), stored, "foreground")


def test_statistics_and_supervision_in_training_are_the_published_ones(
    state: dict[str, Tensor], stored: dict[str, np.ndarray]
) -> None:
    model = imported(state, supervision="around")
    x = voxels(model)
    with torch.no_grad():
        maps = model.backbone.train().stages(x)
        boxes = torch.from_numpy(stored["loss_boxes"])[:, [0, 1, 2, 4, 3, 5, 6]]  # they write the width first
        loss = objectness_loss(importances(maps), [boxes], model.grid, "around")
    close(loss, stored["loss"], 1e-5)
    for number, place in ((1, 2), (2, 3), (3, 3)):
        norm = getattr(model.backbone, f"stage{number}")[place].spread.norm
        close(norm.running_mean, stored[f"mean{number}"], 1e-5)
        close(norm.running_var, stored[f"var{number}"], 1e-5)


def test_the_model_with_images_is_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(PerceptionError, match=r"six cameras.*conv_focal_multimodal"):
        plan({**state, "backbone.conv_focal_multimodal.conv.weight": torch.zeros(1)}, NAME, None, "checkpoint", {})


TASKS = ("car",), ("truck", "construction_vehicle"), ("bus", "trailer"), ("barrier",), ("motorcycle", "bicycle")
CONFIG: dict[str, Any] = {
    "model": {
        "type": "VoxelFocal",
        "reader": {"type": "VoxelFeatureExtractorV3", "num_input_features": 5},
        "backbone": {
            "type": "SpMiddleResNetFHDFocal",
            "ENLARGE_VOXEL_CHANNELS": 32,
            "SPECIAL_CONV_LIST": [1, 2],
            "THRESHOLD": 0.4,
            "SKIP_LOSS": True,
        },
        "neck": {
            "type": "RPN",
            "layer_nums": [5, 5],
            "ds_layer_strides": [1, 2],
            "ds_num_filters": [128, 256],
            "us_layer_strides": [1, 2],
            "us_num_filters": [256, 256],
        },
        "bbox_head": {
            "type": "CenterHead",
            "dataset": "nuscenes",
            "tasks": [{"class_names": list(names)} for names in (*TASKS, ("pedestrian", "traffic_cone"))],
            "common_heads": {"reg": (2, 2), "height": (1, 2), "dim": (3, 2), "rot": (2, 2), "vel": (2, 2)},
        },
    },
    "test_cfg": {"post_center_limit_range": [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0]},
    "voxel_generator": {
        "range": [-54, -54, -5.0, 54, 54, 3.0],
        "voxel_size": [0.075, 0.075, 0.2],
        "max_points_in_voxel": 10,
        "max_voxel_num": [120000, 160000],
    },
}


def test_the_options_of_the_backbone_are_read() -> None:
    name, values, _ = read_config(ForeignConfig(CONFIG, "c.py"))
    assert name == NAME
    assert values["focal"] == {
        "use_stages": [1, 2],
        "enlarge": 32,
        "threshold": 0.4,
        "top": True,
        "mask": True,
        "merge": "doubled",
        "supervision": "none",
    }


def test_a_configuration_with_images_is_refused() -> None:
    model = CONFIG["model"]
    seeing = {**model, "backbone": {**model["backbone"], "USE_IMG": True}, "network2d": {"type": "PyramidFeat2D"}}
    with pytest.raises(PerceptionError, match=r"network2d(.|\n)*USE_IMG = True"):
        read_config(ForeignConfig({**CONFIG, "model": seeing}, "c.py"))
