"""Codes of boxes, one-to-one matching, and losses against numbers worked out beside them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.geometry import iou_3d
from perception.heads.centre_grid import CentreGrid
from perception.heads.transfusion_head import QueryPredictions, TransFusionHead, TransFusionHeadConfig
from perception.heads.transfusion_loss import TransFusionLossWeights, match, transfusion_loss
from perception.heads.transfusion_matching import MatchingCosts, assign, matching_cost

GRID = CentreGrid((-8.0, -4.0), (0.1, 0.2), 4)
CONFIG = TransFusionHeadConfig(queries=6, channels=16, heads=4, feedforward=32, every_cell=("cone",))
CLASSES = ("car", "cone")


def head(**changes: object) -> TransFusionHead:
    return TransFusionHead(8, CLASSES, GRID, replace(CONFIG, **changes))  # type: ignore[arg-type]


def boxes(number: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    low, high = torch.tensor([-7.0, -3, -1, 1, 1, 1, -3, -5, -5]), torch.tensor([7.0, 3, 1, 4, 2, 2, 3, 5, 5])
    return low + (high - low) * torch.rand(number, 9, generator=generator)


def predicted(model: TransFusionHead, codes: Tensor, heatmap: Tensor | None = None) -> QueryPredictions:
    """Predictions (1, P) with these codes, undecided about classes."""
    number = len(codes)
    maps = torch.full((1, 2, 10, 40), -4.0) if heatmap is None else heatmap
    place, scores = torch.zeros(1, number, dtype=torch.int64), torch.zeros(1, number, 2)
    overlap = torch.zeros(1, number) if model.config.overlap else None
    return QueryPredictions(maps, place, place, scores, codes[None], scores, overlap)


@pytest.mark.parametrize("height", ["centre", "top"])
def test_decode_undoes_encode(height: str) -> None:
    model, wanted = head(height=height), boxes(9)
    torch.testing.assert_close(model.decode(model.encode(wanted)), wanted)


def test_codes_are_cells_sine_and_cosine() -> None:
    box = torch.tensor([[0.0, 1.0, 0.5, 4.0, 2.0, 1.0, math.pi / 2, 3.0, -1.0]])
    at_the_top = head(height="top").encode(box)[0]
    wanted = [20.0, 6.25, 1.0, math.log(4), math.log(2), 0.0, 1.0, 0.0, 3.0, -1.0]
    torch.testing.assert_close(at_the_top, torch.tensor(wanted), atol=1e-6, rtol=1e-6)
    assert head().encode(box)[0, 2] == 0.5


def test_cost_is_focal_distance_and_overlap() -> None:
    found, truth = boxes(5), boxes(3)
    found[1, :7] = truth[2, :7]
    logits, labels = torch.randn(5, 2), torch.tensor([0, 1, 1])
    cost = matching_cost(logits, found[:, :7], truth[:, :7], labels, (16.0, 8.0), MatchingCosts())
    for p, g in itertools.product(range(5), range(3)):
        score = torch.sigmoid(logits[p, labels[g]]).item()
        focal = -0.25 * (1 - score) ** 2 * math.log(score) + 0.75 * score**2 * math.log(1 - score)
        apart = abs(found[p, 0] - truth[g, 0]) / 16 + abs(found[p, 1] - truth[g, 1]) / 8
        overlap = iou_3d(found[p : p + 1, :7], truth[g : g + 1, :7]).item()
        assert cost[p, g].item() == pytest.approx(0.15 * focal + 0.25 * apart.item() - 0.25 * overlap, abs=1e-6)


def test_assignment_is_the_cheapest_of_all() -> None:
    cost = torch.rand(5, 3)
    rows, columns = assign(cost)
    best = min(sum(cost[p, g].item() for g, p in enumerate(order)) for order in itertools.permutations(range(5), 3))
    assert cost[rows, columns].sum().item() == pytest.approx(best)
    assert sorted(columns.tolist()) == [0, 1, 2]


def test_objects_get_the_queries_that_lie_on_them_whatever_their_sample() -> None:
    model, truth = head(), boxes(4)
    codes = torch.stack([model.encode(truth[[3, 1, 0]]), model.encode(truth[[2, 0, 1]])])
    zero = torch.zeros(2, 3, dtype=torch.int64)
    scores = torch.zeros(2, 3, 2)
    predictions = QueryPredictions(torch.zeros(2, 2, 10, 40), zero, zero, scores, codes, scores, None)
    sample = torch.tensor([0, 0, 1, 1])
    pairs = match(model, predictions, truth[[0, 3, 2, 1]], sample, torch.zeros(4, dtype=torch.int64), MatchingCosts())
    found = codes[pairs.sample, pairs.query]
    torch.testing.assert_close(model.decode(found), pairs.boxes)
    assert sorted(zip(pairs.sample.tolist(), pairs.query.tolist())) == [(0, 0), (0, 2), (1, 0), (1, 2)]


def test_losses_of_hand_made_predictions() -> None:
    model = head(overlap=True)
    truth = boxes(2)
    codes = model.encode(truth[[0, 1, 1]])
    codes[2, :2] += 30.0  # a third query, far from both
    codes[0, 3] += 0.5
    codes[1, 8] += 2.0
    predictions = predicted(model, codes)
    losses = transfusion_loss(model, predictions, [truth], [torch.tensor([0, 1])], TransFusionLossWeights())
    assert losses["box"].item() == pytest.approx(0.25 * (0.5 + 0.2 * 2.0) / 2, abs=1e-5)
    # Undecided scores: two of six are wanted, the third query none.
    wanted = (2 * 0.25 + 4 * 0.75) * 0.25 * math.log(2) / 2
    assert losses["classification"].item() == pytest.approx(wanted, rel=1e-5)
    shares = iou_3d(model.decode(codes[:2])[:, :7], truth[:, :7], aligned=True)
    assert shares[1] == pytest.approx(1, abs=1e-3)
    assert losses["overlap"].item() == pytest.approx(0.5 * (2 * shares - 1).abs().mean().item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx(sum(v.item() for k, v in losses.items() if k != "loss"), rel=1e-6)


def test_unknown_velocities_cost_nothing() -> None:
    model, truth = head(), boxes(2)
    codes = model.encode(truth)
    codes[:, 8:] += 100
    kinds = [torch.tensor([0, 1])]
    weights = TransFusionLossWeights()
    unknown = torch.cat([truth[:, :7], torch.full((2, 2), torch.nan)], 1)
    for given in (truth[:, :7], unknown):
        assert transfusion_loss(model, predicted(model, codes), [given], kinds, weights)["box"].item() < 1e-5
    assert transfusion_loss(model, predicted(model, codes), [truth], kinds, weights)["box"].item() > 1


def test_the_heatmap_is_taught_a_gaussian_at_each_object() -> None:
    model, truth = head(), boxes(1)
    column, row = (int(v) for v in model.encode(truth)[0, :2])
    right, wrong = torch.full((1, 2, 10, 40), -8.0), torch.full((1, 2, 10, 40), -8.0)
    right[0, 1, row, column] = 8.0
    wrong[0, 0, row, column] = 8.0
    weights, kinds = TransFusionLossWeights(), [torch.tensor([1])]
    codes = model.encode(truth)
    good, bad = (transfusion_loss(model, predicted(model, codes, m), [truth], kinds, weights) for m in (right, wrong))
    assert good["heatmap"].item() < 0.01 < 5 < bad["heatmap"].item()


def test_a_frame_without_objects_teaches_that_there_are_none() -> None:
    model = head(overlap=True)
    codes = model.encode(boxes(3)).requires_grad_()
    none = [torch.zeros(0, 7)]
    losses = transfusion_loss(
        model, predicted(model, codes), none, [torch.zeros(0, dtype=torch.int64)], TransFusionLossWeights()
    )
    assert losses["box"].item() == losses["overlap"].item() == 0
    assert losses["classification"].item() == pytest.approx(6 * 0.75 * 0.25 * math.log(2), rel=1e-5)
    losses["loss"].backward()


def test_more_objects_than_queries() -> None:
    model, truth = head(), boxes(5)
    losses = transfusion_loss(
        model, predicted(model, model.encode(truth[:2])), [truth], [torch.zeros(5).long()], TransFusionLossWeights()
    )
    assert losses["box"].item() == pytest.approx(0, abs=1e-5)


def test_a_map_smaller_than_the_queries_and_unknown_classes() -> None:
    model = head(queries=200).eval()
    with torch.inference_mode():
        found = model(torch.randn(2, 8, 2, 3))
    assert found.codes.shape == (2, 12, 10)
    with pytest.raises(PerceptionError, match="every_cell"):
        head(every_cell=("lorry",))
    with pytest.raises(PerceptionError, match="peak_window"):
        head(peak_window=2)


def test_places_on_a_large_map_survive_half_precision() -> None:
    model, x = head(peak_window=1).eval(), torch.randn(1, 8, 4, 300)
    with torch.inference_mode():
        full = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(x)
    assert half.codes.dtype == torch.float32
    x_of_cell = half.cell % 300 + 0.5
    offset = half.codes[..., 0] - x_of_cell
    wanted = full.codes[..., 0] - (full.cell % 300 + 0.5)
    assert offset.abs().max() < wanted.abs().max() + 0.2
    assert (offset != offset.round()).any()
