"""Checkpoints of CenterPoint's authors: their own modules' outputs, stored, against ours.

The arrays come from the modules of tianweiy/CenterPoint (reader, backbone, neck, head and its decoding) with spconv
2.3.8 on the CPU, one thread, on the points and weights of ``foreign_weights``; the overlap test was a stand-in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_weights import cloud, drawn, stored_keys
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.conversion import ImportReport
from perception.io.importers.det3d.importer import plan, read_config
from perception.io.importers.foreign_config import ForeignConfig
from perception.io.importers.python_config import parse_python_config
from perception.points import PointBatch

FOLDER = Path(__file__).resolve().parents[1] / "golden"
NEAR = (-12.8, -12.8, -5.0, 12.8, 12.8, 3.0)


@dataclass(frozen=True)
class Case:
    file: str
    name: str
    point_range: tuple[float, ...]
    cell: float
    velocity: bool = True


VOXELS = Case("det3d-centerpoint", "centerpoint-nuscenes-10cm", NEAR, 0.1)
PILLARS = Case("det3d-centerpoint-pillars", "centerpoint-nuscenes-pillars", NEAR, 0.2)
WAYMO = Case("det3d-centerpoint-waymo", "centerpoint-waymo", (-12.8, -12.8, -2.0, 12.8, 12.8, 4.0), 0.1, velocity=False)


def stored(case: Case) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{case.file}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def official(case: Case) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in drawn(stored_keys(stored(case)["keys"])).items()}


def imported(case: Case, state: dict[str, Tensor]) -> tuple[Any, ImportReport]:
    made = plan(state, case.name, None, "checkpoint", {})
    made = replace(made, config=replace(made.config, point_range=case.point_range))
    model = made.make().eval()
    return model, made.load(model, state, "checkpoint")


def points(case: Case) -> PointBatch:
    values = torch.from_numpy(cloud(case.point_range[:3], case.point_range[3:], case.cell, 900, 2))
    return PointBatch(values, torch.zeros(len(values), dtype=torch.long), 1)


def close(ours: Tensor, theirs: np.ndarray, tolerance: float = 1e-3) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("case", [VOXELS, PILLARS, WAYMO], ids=lambda case: case.file)
def test_boxes_are_theirs_in_our_convention(case: Case) -> None:
    model, report = imported(case, official(case))
    wanted = stored(case)
    assert sorted(report.mapped.values()) == sorted(model.state_dict())
    with torch.inference_mode():
        voxels = model.voxelise(points(case))
        features = model.bev(model.flatten(model.backbone(model.sparse(voxels))))
        shared = model.head.shared(features)
        tasks = [model.head.everywhere(shared, task) for task in range(len(model.head.tasks))]
        results = model.results(model(voxels))[0]
    close(features[0, ::32, ::9, ::9], wanted["features"])
    for task, maps in enumerate(tasks):
        if f"hm{task}" not in wanted:
            continue
        close(maps.heatmap[0, :, ::11, ::11], wanted[f"hm{task}"])
        values = maps.values[0][:, ::11, ::11]
        close(values[:2], wanted[f"reg{task}"])
        close(values[[4, 3, 5]], wanted[f"dim{task}"])
        close(-values[6:8], wanted[f"rot{task}"])  # (cos, sin) of our heading against (sin, cos) of theirs

    count = len(wanted["boxes"])
    theirs = wanted["boxes"]
    ours = results.boxes.values[:count]
    close(results.scores[:count], wanted["box_scores"])
    assert np.array_equal(results.labels[:count].numpy(), wanted["box_labels"])
    close(ours[:, [0, 1, 2, 4, 3, 5]], theirs[:, :6], 2e-3)
    turn = ours[:, 6].numpy() + theirs[:, -1] + math.pi / 2
    np.testing.assert_allclose(np.cos(turn), 1, atol=1e-5)
    if case.velocity:
        close(results.boxes.velocity[:count], theirs[:, 6:8])


def test_kernels_of_spconv_1_are_turned() -> None:
    state = official(VOXELS)
    old = {key: value.permute(1, 2, 3, 4, 0).contiguous() if value.ndim == 5 else value for key, value in state.items()}
    new, _ = imported(VOXELS, state)
    again, report = imported(VOXELS, old)
    assert len(report.permuted) == sum(value.ndim == 5 for value in state.values())
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in new.state_dict().items())


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("bbox_head.tasks.0.feature_adapt_cls.conv_offset.weight", "deformable convolutions"),
        ("backbone.conv_focal_multimodal.conv.weight", "Focals Conv"),
        ("roi_head.shared_fc_layer.0.weight", "a second stage"),
    ],
)
def test_parts_that_nothing_here_computes_are_refused(key: str, reason: str) -> None:
    with pytest.raises(PerceptionError, match=f"{reason}.*{key}"):
        plan({**official(WAYMO), key: torch.zeros(1)}, WAYMO.name, None, "checkpoint", {})


CONFIG = """
import itertools
import logging
tasks = [dict(num_class=1, class_names=["VEHICLE"]), dict(num_class=2, class_names=["PEDESTRIAN", "scooter"])]
class_names = list(itertools.chain(*[t["class_names"] for t in tasks]))
model = dict(
    type="VoxelNet",
    reader=dict(type="VoxelFeatureExtractorV3", num_input_features=6),
    backbone=dict(type="SpMiddleResNetFHD", num_input_features=6, ds_factor=8),
    neck=dict(type="RPN", layer_nums=[3, 3], ds_layer_strides=[1, 2], ds_num_filters=[64, 128],
              us_layer_strides=[1, 2], us_num_filters=[128, 128], logger=logging.getLogger("RPN")),
    bbox_head=dict(type="CenterHead", tasks=tasks, dataset='waymo', weight=2,
                   code_weights=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
                   common_heads={'reg': (2, 2), 'height': (1, 2), 'dim':(3, 2), 'rot':(2, 2), 'vel': (2, 2)}),
)
test_cfg = dict(
    post_center_limit_range=[-80, -80, -10.0, 80, 80, 10.0],
    nms=dict(nms_pre_max_size=400, nms_post_max_size=50, nms_iou_threshold=0.5),
    score_threshold=0.2, double_flip=True,
)
voxel_generator = dict(range=[-40, -40, -2, 40, 40, 4], voxel_size=[0.1, 0.1, 0.15], max_points_in_voxel=4,
                       max_voxel_num=[1000, 2000])
"""


def test_configurations_are_read_without_running_them() -> None:
    name, values, notes = read_config(ForeignConfig(parse_python_config(CONFIG, "c.py"), "c.py"))
    assert name == "centerpoint-waymo"
    assert values["tasks"] == [("Vehicle",), ("Pedestrian", "scooter")]
    assert values["point_fields"] == ("intensity", "elongation", "time")
    assert values["loss"]["codes"] == [1, 2, 3, 4, 5, 6, 9, 10, 7, 8]
    assert values["max_voxels"] == (1000, 2000)
    assert "double_flip" in notes[0]
    assert values["selection"]["radii"] is None
    circles = CONFIG.replace("double_flip=True", "circular_nms=True, min_radius=[4, 0.25]")
    _, values, notes = read_config(ForeignConfig(parse_python_config(circles, "c.py"), "c.py"))
    assert values["selection"]["radii"] == [2.0, 0.5]
    assert not notes


def test_what_a_configuration_asks_and_ours_has_not_is_listed() -> None:
    text = CONFIG.replace('type="RPN"', 'type="FPN"').replace("weight=2,", "weight=2, dcn_head=True,")
    text = text.replace("max_points_in_voxel=4", "max_points_in_voxel=count()")
    with pytest.raises(PerceptionError) as caught:
        read_config(ForeignConfig(parse_python_config(text, "c.py"), "c.py"))
    for part in ("model.neck.type = 'FPN'", "dcn_head = True", "max_points_in_voxel is computed by `count()`"):
        assert part in str(caught.value)
