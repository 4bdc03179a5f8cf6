"""Metrics of trees, places and scene flow: cases small enough to count by hand, and the stored official answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.metrics import scene_flow
from perception.metrics.places import place_recall
from perception.metrics.scene_flow import FlowFrame
from perception.metrics.trees import tree_overlaps
from perception.parity.files import check_file


@pytest.mark.parametrize("name", ["trees", "place_recognition", "scene_flow"])
def test_stored_official_answers(name: str, shared_golden: Path) -> None:
    path = shared_golden / "trees_places_flow" / f"metrics_{name}.npz"
    checks = list(check_file(path, shared_golden))
    assert not [check.name for check in checks if not check.passed]
    assert sum(check.compared for check in checks) > 500


def test_trees_by_hand() -> None:
    true = np.array([1, 1, 1, 1, 2, 2, 0, 0, 3])
    predicted = np.array([7, 7, 7, 0, 8, 9, 9, 0, 0])
    overlaps = tree_overlaps(true, predicted)
    assert overlaps.iou.tolist() == [[0.75, 0, 0], [0, 0.5, 1 / 3], [0, 0, 0]]
    scores = overlaps.scores()
    assert scores.pairs == [(1, 7, 0.75)]
    assert scores.precision == scores.recall == scores.f1 == pytest.approx(1 / 3)
    assert scores.panoptic_quality == pytest.approx(0.25)
    assert len(overlaps.scores_not_one_to_one().pairs) == 2  # a half counts there
    assert overlaps.coverage() == pytest.approx((0.75 + 0.5) / 3)
    assert overlaps.coverage(weighted=True) == pytest.approx((0.75 * 4 + 0.5 * 2) / 7)


def test_trees_without_any() -> None:
    for true, predicted in ((np.zeros(4, int), np.ones(4, int)), (np.ones(4, int), np.zeros(4, int))):
        overlaps = tree_overlaps(true, predicted)
        for scores in (overlaps.scores(), overlaps.scores("filtered"), overlaps.scores_not_one_to_one()):
            assert (scores.pairs, scores.f1, scores.segmentation_quality) == ([], 0.0, 0.0)
        assert overlaps.coverage() == 0.0
    with pytest.raises(PerceptionError, match="one id for each point"):
        tree_overlaps(np.zeros(3, int), np.zeros(4, int))


def test_places_by_hand() -> None:
    database = np.array([[0.0, 0], [10, 0], [100, 0]])
    descriptors = np.array([[1.0, 0], [0, 1], [0.9, 0.1]])
    queries = np.array([[1.0, 0], [500, 0], [99, 0]])
    found = place_recall(database, descriptors, queries, np.array([[0.95, 0.05], [1, 0], [0.0, 1]]), 5.0)
    assert found.neighbours.tolist() == [1, 0, 1]
    assert found.evaluated == 2  # the second has no true place
    assert found.recall[:2].tolist() == [50.0, 100.0]  # the third finds its place in second rank
    assert found.mrr == found.mrr_full == pytest.approx(75.0)
    assert place_recall(database, descriptors, queries[1:2], descriptors[:1], 5.0).evaluated == 0


def frame(flow: float, category: int = 19, points: int = 4) -> FlowFrame:
    """Points that truly move 0.3 m along x in 0.1 s besides the ego motion of 1 m, and are said to move ``flow``."""
    xyz = np.tile(np.float32([[10, 0, 0]]), (points, 1))
    pose, x = np.tile(np.float32([[1, 0, 0]]), (points, 1)), np.float32([[1, 0, 0]])
    return FlowFrame(xyz, pose, pose + 0.3 * x, pose + flow * x, np.full(points, category), np.ones(points, bool))


def test_scene_flow_by_hand() -> None:
    scores = scene_flow.three_way(frame(0.1))
    assert scores["EPE_FD"] == pytest.approx(0.2, abs=1e-6)
    assert scores["EPE_FS"] == scores["EPE_BS"] == 0.0  # no such points: zero, as the leaderboard counts
    assert scores["IoU"] == 1.0
    assert scene_flow.three_way(frame(0.0))["IoU"] == 0.0
    classes = {"BACKGROUND": [0], "CAR": [19]}
    cells = scene_flow.speed_cells([frame(0.1), frame(0.2, category=0)], classes)
    assert (cells.count[0, 0], cells.count[1].sum()) == (4, 4)
    table = scene_flow.bucketed(cells, list(classes))
    assert table["CAR"]["Dynamic"] == pytest.approx(0.2 / 0.3, abs=1e-5)
    assert np.isnan(table["CAR"]["Static"])
    ranges = scene_flow.range_cells([frame(0.1)])
    assert ranges.count.tolist() == [[0] * 5, [4, 0, 0, 0, 0]]
    assert ranges.about[1, 0] == pytest.approx(10.0)


def test_points_that_are_no_numbers_do_not_count() -> None:
    broken = frame(0.1)
    broken.flow[0] = np.nan
    broken.valid[1] = False
    assert len(broken.counted().points) == 2
    assert scene_flow.three_way(broken)["EPE_FD"] == pytest.approx(0.2, abs=1e-6)
