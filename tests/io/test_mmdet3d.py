"""Checkpoints of mmdet3d: its own outputs, stored when its modules ran on weights made by a rule, against ours.

The arrays come from mmdet3d 1.4.0 with mmdet 3.2.0 and spconv 2.3.8 (CPU, one thread), on the points and weights of
``foreign_weights``; of its suppression only the overlap test was a stand-in.
"""

from __future__ import annotations

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
from perception.io.importers.mmdet3d.importer import plan
from perception.points import PointBatch

FOLDER = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class Case:
    file: str
    name: str
    point_range: tuple[float, ...]
    fields: int
    cell: float


SECOND = Case("mmdet3d-second", "second", (0.0, -8.0, -3.0, 16.0, 8.0, 1.0), 4, 0.05)
PILLARS = Case("mmdet3d-pointpillars", "pointpillars", (0.0, -10.24, -3.0, 20.48, 10.24, 1.0), 4, 0.16)
NEAR = (-12.8, -12.8, -5.0, 12.8, 12.8, 3.0)
CENTRES = Case("mmdet3d-centerpoint", "centerpoint-nuscenes-10cm", NEAR, 5, 0.1)
CENTRE_PILLARS = Case("mmdet3d-centerpoint-pillars", "centerpoint-nuscenes-pillars", NEAR, 5, 0.2)
CASES = (SECOND, PILLARS, CENTRES, CENTRE_PILLARS)


def stored(case: Case) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{case.file}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def official(case: Case) -> dict[str, Tensor]:
    weights = drawn(stored_keys(stored(case)["keys"]))
    return {key: torch.from_numpy(value) for key, value in weights.items()}


def imported(case: Case, state: dict[str, Tensor]) -> tuple[Any, ImportReport]:
    made = plan(state, case.name, None, "checkpoint", {})
    made = replace(made, config=replace(made.config, point_range=case.point_range))
    model = made.make().eval()
    return model, made.load(model, state, "checkpoint")


def points(case: Case) -> PointBatch:
    values = torch.from_numpy(cloud(case.point_range[:3], case.point_range[3:], case.cell, 900, case.fields - 3))
    return PointBatch(values, torch.zeros(len(values), dtype=torch.long), 1)


def close(ours: Tensor, theirs: np.ndarray, tolerance: float = 2e-4) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("case", [SECOND, PILLARS], ids=lambda case: case.name)
def test_anchor_detectors_answer_as_there(case: Case) -> None:
    model, report = imported(case, official(case))
    wanted = stored(case)
    assert sorted(report.mapped.values()) == sorted(model.state_dict())
    with torch.inference_mode():
        features = model.features(model.voxelise(points(case)))
        found = model.head(features)
        boxes = model.head.decode(found)[0]
    close(features[0, ::32, ::9, ::9], wanted["features"])
    close(features[0].double().mean((1, 2))[::8], wanted["feature_mean"])

    height, width = features.shape[2:]
    ours = [2, 0, 1]  # Car, Pedestrian, Cyclist, where there the order is Pedestrian, Cyclist, Car
    for name, values in (("scores", 3), ("residuals", 7), ("directions", 2)):
        maps = getattr(found, name)[0].view(height, width, 3, 2, values)[::13, ::13].permute(2, 3, 4, 0, 1)
        theirs = wanted[name].reshape(3, 2, values, *wanted[name].shape[1:])[ours]
        close(maps, theirs[:, :, ours] if name == "scores" else theirs)

    best, label = found.scores[0].sigmoid().max(1)
    order = best.argsort(descending=True, stable=True)[: len(wanted["boxes"])]
    close(best[order], wanted["box_scores"])
    assert np.array_equal(label[order].numpy(), np.array([1, 2, 0])[wanted["box_labels"]])
    close(boxes[order], wanted["boxes"], 1e-3)


@pytest.mark.parametrize("case", [CENTRES, CENTRE_PILLARS], ids=lambda case: case.name)
def test_centerpoint_answers_as_there(case: Case) -> None:
    model, report = imported(case, official(case))
    wanted = stored(case)
    assert sorted([*report.mapped.values(), *report.supplied]) == sorted(model.state_dict())
    assert all(key.endswith(".bias") for key in report.supplied)
    with torch.inference_mode():
        voxels = model.voxelise(points(case))
        features = model.bev(model.flatten(model.backbone(model.sparse(voxels))))
        shared = model.head.shared(features)
        tasks = [model.head.everywhere(shared, task) for task in range(6)]
        results = model.results(model(voxels))[0]
    close(features[0, ::32, ::9, ::9], wanted["features"], 1e-3)
    spans = {"reg": [0, 1], "height": [2], "dim": [3, 4, 5], "rot": [7, 6], "vel": [8, 9]}
    for task in (0, 1, 5):
        maps = tasks[task]
        close(maps.heatmap[0, :, ::11, ::11], wanted[f"heatmap{task}"], 1e-3)
        for name, rows in spans.items():
            close(maps.values[0, rows][:, ::11, ::11], wanted[f"{name}{task}"], 1e-3)

    count = len(wanted["boxes"])
    ours = torch.cat([results.boxes.values, results.boxes.velocity], 1)[:count]
    close(results.scores[:count], wanted["box_scores"], 1e-3)
    assert np.array_equal(results.labels[:count].numpy(), wanted["box_labels"])
    close(ours, wanted["boxes"], 2e-3)


def test_kernels_of_spconv_1_are_turned() -> None:
    state = official(SECOND)
    old = {key: value.permute(1, 2, 3, 4, 0).contiguous() if value.ndim == 5 else value for key, value in state.items()}
    new, _ = imported(SECOND, state)
    again, report = imported(SECOND, old)
    assert len(report.permuted) == 12
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in new.state_dict().items())


def test_what_nothing_here_computes_is_refused_by_name() -> None:
    state = official(CENTRES)
    with pytest.raises(PerceptionError, match=r"deformable convolutions.*feature_adapt_cls"):
        plan({**state, "pts_bbox_head.task_heads.0.feature_adapt_cls.x": torch.zeros(1)}, CENTRES.name, None, "c", {})
    with pytest.raises(PerceptionError, match=r"mmdet3d 0\.18\.1, whose boxes follow other conventions"):
        plan(state, CENTRES.name, None, "c", {"mmdet3d_version": "0.18.1"})
    with pytest.raises(PerceptionError, match="no mmdet3d importer for 'voxelnext'"):
        plan(state, "voxelnext", None, "c", {})


def test_missing_and_spare_keys_are_named() -> None:
    state = official(SECOND)
    spare = {**state, "backbone.blocks.7.0.weight": torch.zeros(1)}
    with pytest.raises(PerceptionError, match=r"spare bev\.blocks\.7\.0\.weight"):
        imported(SECOND, spare)
    del state["bbox_head.conv_dir_cls.bias"]
    with pytest.raises(PerceptionError, match=r"missing head\.direction\.bias"):
        imported(SECOND, state)
