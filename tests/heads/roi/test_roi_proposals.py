"""Proposals, their drawing and matching, refinement of boxes, and losses, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from roi_scenes import boxes
from torch import Tensor

from perception.boxes import Boxes3D
from perception.geometry import nms
from perception.heads.anchor_head import AnchorHead
from perception.heads.roi import refinement
from perception.heads.roi.grid import grid_points
from perception.heads.roi.loss import RoILossWeights, corner_loss, roi_loss
from perception.heads.roi.proposals import ProposalRule, Proposals, Refined, propose
from perception.heads.roi.results import detections
from perception.heads.roi.sampling import RoISampling, best_overlap, draw, sample_rois
from perception.heads.selection import Selection
from perception.models.detector import KITTI_CLASSES


def proposals(rows: Tensor, labels: list[int], sample: list[int]) -> Proposals:
    return Proposals(rows, torch.zeros(len(rows)), torch.tensor(labels), torch.tensor(sample), max(sample) + 1)


def test_proposals_are_the_best_boxes_of_each_sample() -> None:
    head = AnchorHead(4, KITTI_CLASSES, (0.0, -4.0, -3.0, 8.0, 4.0, 1.0)).eval()
    predictions = head(torch.randn(2, 4, 5, 6))
    found = propose(head, predictions, ProposalRule(50, 0.3, 7))
    decoded = head.decode(predictions)
    for sample in range(2):
        score, label = predictions.scores[sample].max(1)
        rows = score.sort(descending=True).indices[:50]
        kept = rows[nms(decoded[sample, rows], score[rows], 0.3, 7)]
        mine = found.sample == sample
        torch.testing.assert_close(found.boxes[mine], decoded[sample, kept])
        assert torch.equal(found.labels[mine], label[kept])
        assert torch.equal(found.scores[mine], score[kept])
    assert not found.boxes.requires_grad


def test_residuals_turn_proposals_into_boxes() -> None:
    rois, wanted = boxes(40), boxes(40)
    again = refinement.decode(refinement.encode(wanted, rois), rois)
    torch.testing.assert_close(again[:, :6], wanted[:, :6], atol=1e-4, rtol=1e-4)
    turn = (again[:, 6] - wanted[:, 6]) % math.pi
    assert torch.minimum(turn, math.pi - turn).max() < 1e-4


def test_residuals_by_hand() -> None:
    roi = torch.tensor([[1.0, 2.0, 3.0, 4.0, 3.0, 2.0, math.pi / 2]])
    box = torch.tensor([[1.0, 4.5, 4.0, 8.0, 3.0, 1.0, -math.pi / 2 + 0.1]])
    # 2.5 m along the proposal's heading, half a diagonal; it points the other way but for 0.1.
    wanted = torch.tensor([[0.5, 0.0, 0.5, math.log(2), 0.0, -math.log(2), 0.1]])
    torch.testing.assert_close(refinement.encode(box, roi), wanted, atol=1e-6, rtol=1e-6)


def test_grid_points_are_cell_centres_of_the_turned_box() -> None:
    roi = torch.tensor([[1.0, 2.0, 3.0, 4.0, 2.0, 6.0, math.pi / 2]])
    found = grid_points(roi, 2)
    assert found.shape == (1, 8, 3)
    # x slowest, z fastest: the first is rear right below, the second above it.
    torch.testing.assert_close(found[0, 0], torch.tensor([1.5, 1.0, 1.5]))
    torch.testing.assert_close(found[0, 1], torch.tensor([1.5, 1.0, 4.5]))
    torch.testing.assert_close(found[0, 2], torch.tensor([0.5, 1.0, 1.5]))
    torch.testing.assert_close(found[0, 4], torch.tensor([1.5, 3.0, 1.5]))


def test_overlap_only_with_objects_of_the_class() -> None:
    car = [0.0, 0, 0, 4, 2, 2, 0]
    rois = torch.tensor([car, car, [1.0, 0, 0, 4, 2, 2, 0], car])
    objects = torch.tensor([[9.0, 9, 9, 1, 1, 1, 0], car])
    overlap, matched = best_overlap(rois, torch.tensor([0, 1, 1, 2]), objects, torch.tensor([0, 1]))
    torch.testing.assert_close(overlap, torch.tensor([0.0, 1.0, 0.6, 0.0]))
    assert torch.equal(matched[1], objects[1])
    assert torch.equal(matched[3], torch.zeros(7))
    overlap, matched = best_overlap(rois, torch.zeros(4, dtype=torch.int64), torch.zeros(0, 7), torch.zeros(0))
    assert not overlap.any()
    assert matched.shape == (4, 7)


def parts(overlap: Tensor, rule: RoISampling) -> tuple[int, int, int]:
    """Foreground, hard and easy background among the drawn."""
    drawn = overlap[draw(overlap, rule)]
    foreground, easy = (drawn >= rule.foreground).sum(), (drawn < rule.easy).sum()
    return int(foreground), int(len(drawn) - foreground - easy), int(easy)


def test_shares_of_the_drawn() -> None:
    rule = RoISampling(number=20)
    many, hard, easy = torch.full((30,), 0.7), torch.full((30,), 0.3), torch.full((30,), 0.05)
    assert parts(torch.cat([many, hard, easy]), rule) == (10, 8, 2)
    assert parts(torch.cat([many[:3], hard, easy]), rule) == (3, 13, 4)  # int(17 * 0.8) = 13
    assert parts(torch.cat([many[:3], hard[:5], easy]), rule) == (3, 5, 12)
    assert parts(torch.cat([many, easy]), rule) == (10, 0, 10)
    assert parts(torch.cat([many, hard]), rule) == (10, 10, 0)
    assert parts(many[:4], rule) == (20, 0, 0)
    assert parts(easy[:1], rule) == (0, 0, 20)
    assert len(draw(torch.zeros(0), rule)) == 0
    foreground = draw(torch.cat([many, hard]), rule)[:10]
    assert len(foreground.unique()) == 10


def test_drawing_follows_the_global_generator() -> None:
    overlap = torch.rand(200)
    torch.manual_seed(5)
    first = draw(overlap, RoISampling())
    torch.manual_seed(5)
    assert torch.equal(first, draw(overlap, RoISampling()))
    assert not torch.equal(first, draw(overlap, RoISampling()))


def test_wanted_scores_rise_with_the_overlap() -> None:
    shifts = torch.tensor([0.0, 0.4, 1.0, 2.0, 5.0])
    rois = torch.tensor([0.0, 0, 0, 4, 2, 2, 0]).repeat(5, 1)
    rois[:, 0] = shifts
    objects, kinds = [rois[:1]], [torch.tensor([0])]
    targets = sample_rois(proposals(rois, [0] * 5, [0] * 5), objects, kinds, RoISampling(number=64))
    exact = ((4 - shifts) / (4 + shifts)).clamp(min=0)
    wanted = ((exact - 0.25) / 0.5).clamp(0, 1)
    for row, overlap, score, foreground in zip(
        targets.proposals.boxes, targets.overlap, targets.scores, targets.foreground
    ):
        which = int((shifts == row[0]).nonzero()[0, 0])
        assert overlap == pytest.approx(float(exact[which]), abs=1e-6)
        assert score == pytest.approx(float(wanted[which]), abs=1e-5)
        assert bool(foreground) == (float(exact[which]) > 0.55)


def test_samples_without_objects_or_proposals() -> None:
    rois = proposals(boxes(6), [0] * 6, [0] * 3 + [2] * 3)
    nothing = torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)
    targets = sample_rois(rois, [nothing[0]] * 3, [nothing[1]] * 3, RoISampling(number=8))
    assert targets.proposals.sample.tolist() == [0] * 8 + [2] * 8
    assert not targets.scores.any()
    refined = Refined(targets.proposals, torch.randn(16, requires_grad=True), torch.randn(16, 7, requires_grad=True))
    found = roi_loss(refined, targets, RoILossWeights())
    assert found["roi_location"] == 0
    assert found["roi_corner"] == 0
    sum(found.values()).backward()
    assert torch.isfinite(refined.scores.grad).all()
    assert not refined.residuals.grad.any()


def test_loss_by_hand() -> None:
    rois = torch.tensor([[0.0, 0, 0, 4, 3, 2, 0.3], [50.0, 0, 0, 4, 3, 2, 0]])
    objects = [torch.tensor([[0.2, 0.1, 0.1, 4.2, 2.9, 2.0, 0.2]])]
    torch.manual_seed(0)
    targets = sample_rois(proposals(rois, [0, 0], [0, 0]), objects, [torch.tensor([0])], RoISampling(number=4))
    logits, residuals = torch.randn(4), 0.1 * torch.randn(4, 7)
    refined = Refined(targets.proposals, logits, residuals)
    weights = RoILossWeights(score=2.0, location=3.0, corner=4.0)
    found = roi_loss(refined, targets, weights)
    share = logits.sigmoid()
    score = -(targets.scores * share.log() + (1 - targets.scores) * (1 - share).log()).mean()
    assert found["roi_score"] == pytest.approx(2 * float(score), rel=1e-5)
    mine = targets.foreground.nonzero()[:, 0]
    assert len(mine) == 1  # one foreground proposal, drawn without repetition
    off = (residuals[mine] - refinement.encode(objects[0], rois[:1])).abs()
    location = torch.where(off < 1 / 9, 4.5 * off**2, off - 1 / 18).sum()
    assert found["roi_location"] == pytest.approx(3 * float(location), rel=1e-5)
    corner = corner_loss(refinement.decode(residuals[mine], rois[:1]), objects[0]).mean()
    assert found["roi_corner"] == pytest.approx(4 * float(corner), rel=1e-5)


def test_corner_loss_by_hand() -> None:
    box = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0.0]])
    moved = torch.tensor([[0.6, 0, 0.8, 4, 2, 2, 0.0]])
    assert float(corner_loss(moved, box)) == pytest.approx(0.5)  # every corner is 1 m off: 1 - 1 / 2
    turned = torch.cat([box[:, :6], box[:, 6:] + math.pi], 1)
    assert float(corner_loss(turned, box)) == pytest.approx(0, abs=1e-6)
    distance = (Boxes3D(box).corners() - Boxes3D(box * 1.1).corners()).norm(dim=2)
    assert float(corner_loss(box * 1.1, box)) == pytest.approx(float((distance**2 / 2).mean()), rel=1e-5)


def test_results_take_score_and_box_of_the_second_stage_and_class_of_the_first() -> None:
    rois = torch.tensor(
        [[0.0, 0, 0, 4, 2, 2, 0], [0.1, 0, 0, 4, 2, 2, 0], [9, 0, 0, 4, 2, 2, 0], [20, 0, 0, 4, 2, 2, 0]]
    )
    given = Proposals(rois, torch.zeros(4), torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 0, 2]), 3)
    logits = torch.tensor([1.0, 2.0, -3.0, 0.5])
    found = detections(Refined(given, logits, torch.zeros(4, 7)), Selection(0.3, 100, 0.1, 10), ("a", "b"))
    assert [len(part) for part in found] == [1, 0, 1]
    assert found[0].labels.tolist() == [1]
    torch.testing.assert_close(found[0].boxes.values, rois[1:2])
    torch.testing.assert_close(found[0].scores, F.sigmoid(logits[1:2]))
