"""Counting of trees against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perception.metrics.tree_protocols import PlotTrees, segmentanytree_paper, segmentanytree_tracker, treelearn
from perception.metrics.tree_report import Tally, counted, tree_report


def plot(true: str, predicted: str, z: list[float] | None = None) -> PlotTrees:
    """One letter a point, '.' for no tree."""
    ids = [np.array([0 if c == "." else ord(c) - 96 for c in text], np.int64) for text in (true, predicted)]
    heights = np.array(z if z is not None else [2.0] * len(true))
    return PlotTrees(ids[0], ids[1], heights, heights)


#                  a: 3 of 4 found;  b: split in halves;  c: missed;  d invented
CASE = plot("aaaabbbbbbccc....", "xxx.yyyzzz......w".replace("w", "d"))


def test_one_to_one_by_hand() -> None:
    report = tree_report([CASE])
    total = report.total
    assert (total.true, total.predicted, total.matched) == (3, 4, 1)  # halves overlap by a half, not by more
    assert total.precision == pytest.approx(1 / 4)
    assert total.recall == pytest.approx(1 / 3)
    assert total.f1 == pytest.approx(2 / 7)
    assert total.coverage == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert total.panoptic_quality == pytest.approx(2 / 7 * 0.75)
    values = total.as_dict()
    assert values["omission"] == pytest.approx(2 / 3)
    assert values["commission"] == pytest.approx(3 / 4)


def test_the_tracker_lets_two_predictions_hit_one_tree() -> None:
    found = segmentanytree_tracker([CASE])
    assert found["precision"] == pytest.approx(3 / 4)  # a, and both halves of b
    assert found["recall"] == pytest.approx(1.0)  # three hits for three trees, though c was missed
    assert found["segmentation_quality"] == pytest.approx((0.75 + 0.5 + 0.5) / 3)
    assert found["weighted_coverage"] == pytest.approx((4 * 0.75 + 6 * 0.5) / 13)


def test_the_paper_takes_points_without_a_tree_for_a_label() -> None:
    # b, the largest, takes a half (overlap 0.5); a takes its own; c takes label 1, which is no tree at all: 3 of 7.
    found = segmentanytree_paper([CASE])
    assert found["detection"] == pytest.approx(1 / 3)
    assert found["omission"] == pytest.approx(2 / 3)
    assert found["commission"] == pytest.approx(2 / 3)
    assert found["tree_precision"] == pytest.approx((1 + 1 + 3 / 7) / 3)
    assert found["tree_recall"] == pytest.approx((0.5 + 0.75 + 1) / 3)


def test_height_residuals_of_pairs() -> None:
    found = segmentanytree_paper([plot("aaaa", "xxx.", [0.0, 2.0, 10.0, 12.0])])
    assert found["height_residual"] == pytest.approx(2.0)
    assert found["height_rmse"] == pytest.approx(2.0)


def test_treelearn_forgives_what_lies_beside_the_labels() -> None:
    found = treelearn([CASE])
    # y and z lie on b: one is commission (neither is a pair); d lies on no tree and does not count.
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["commission"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(1 / 3)


def test_strata_are_of_the_tree_not_of_its_prediction() -> None:
    # a is 12 m high, its prediction ends at 9; b is 4 m and missed; y is an invention of 22 m.
    heights = [1.0, 9.0, 8.0, 12.0, 3.0, 4.0, 22.0]
    report = tree_report([plot("aaaabb.", "xxx...y", heights)])
    assert report.strata[2] == Tally(1, 1, 1, 0.75, 0.75)  # 10 to 15 m
    assert report.strata[0] == Tally(1, 0, 0, 0.0, 0.0)
    assert report.strata[4] == Tally(0, 1, 0, 0.0, 0.0)
    assert "10-15 m" in report.table()
    assert "15-20 m" not in report.table()
    plain = report.as_dict()
    assert plain["by_height"][2]["from"] == 10.0
    assert plain["by_height"][-1]["to"] is None


def test_plots_are_pooled_but_never_mixed() -> None:
    one, other = plot("aa..", "..aa"), plot("aa..", "aa..")
    report = tree_report([one, other])
    assert (report.total.true, report.total.predicted, report.total.matched) == (2, 2, 1)


def test_what_does_not_count() -> None:
    small = counted(plot("aaab", "xxxy"), least_points=2)  # b is too small: neither it nor y count
    assert tree_report([small]).total == Tally(1, 1, 1, 1.0, 1.0)
    unknown = counted(plot("aaa.", "xxxx"), np.array([True, True, True, False]))
    assert tree_report([unknown]).total == Tally(1, 1, 1, 1.0, 1.0)


@pytest.mark.parametrize("texts", [("", ""), ("...", "..."), ("aa.", "..."), ("...", "x.."), ("aaa", "xxx")])
def test_nothing_is_not_a_number(texts: tuple[str, str]) -> None:
    report = tree_report([plot(*texts)])
    values = [*report.total.as_dict().values(), *(v for p in report.protocols.values() for v in p.values())]
    assert np.isfinite(values).all()
    assert tree_report([]).total == Tally()
