"""Published configurations of mmdet3d, unchanged, on our operators and on its own: equal losses and boxes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip(
    "mmengine", reason="mmdet3d is not installed here: make test-mmdet3d runs these tests in an environment of its own"
)
pytest.importorskip("spconv", reason="spconv is mmdet3d's side of the comparison: make test-mmdet3d")

import torch
from both_ways import batch, boxes, losses, model_of, plain_operators

from perception.interop.mmcv.stand_in import StandIn


@dataclass(frozen=True)
class Case:
    config: str
    columns: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]


SECOND = Case("second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py", 4, (5, -8, -2), (20, 8, 0))
PILLARS = Case("pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py", 4, (5, -8, -2), (20, 8, 0))
CENTRES = Case(
    "centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py", 5, (-10, -10, -3), (10, 10, 1)
)


@pytest.mark.parametrize("case", [SECOND, PILLARS, CENTRES], ids=["second", "pointpillars", "centerpoint"])
def test_losses_and_boxes_are_those_of_its_own_operators(case: Case) -> None:
    stand_in: Any = sys.modules["mmcv._ext"]
    assert isinstance(stand_in, StandIn)
    data = batch(case.columns, case.low, case.high, points=400)
    ours = model_of(case.config, ours=True)
    found, gradients = losses(ours, data)
    mine = boxes(ours, data)
    official = model_of(case.config, ours=False)
    with plain_operators(stand_in):
        expected, their_gradients = losses(official, data)
        theirs = boxes(official, data)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found.keys() == expected.keys()
    assert gradients.keys() == their_gradients.keys()
    mine_flat, their_flat = (torch.cat([g.flatten() for g in part.values()]) for part in (gradients, their_gradients))
    assert (mine_flat - their_flat).norm() <= 1e-3 * their_flat.norm()  # single weights' gradients cancel to noise
    assert sum(len(part[0]) for part in theirs) > 0
    for (values, scores, labels), (other_values, other_scores, other_labels) in zip(mine, theirs):
        torch.testing.assert_close(scores, other_scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(values, other_values, rtol=1e-4, atol=1e-4)
        assert labels.tolist() == other_labels.tolist()
