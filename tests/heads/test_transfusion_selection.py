"""Which cells become queries, what a query sees, and which boxes stay."""

from __future__ import annotations

import math

import torch

from perception.heads.transfusion_decoder import QueryDecoder, neighbourhood
from perception.heads.transfusion_selection import QuerySelection, peak_scores, select, top_queries


def test_peaks_are_local_maxima_without_the_border() -> None:
    scores = torch.rand(2, 3, 9, 11)
    scores[0, 0, 4, 4] = scores[0, 0, 4, 5] = 2.0  # two equal neighbours are both peaks
    found = peak_scores(scores, 3, (2,))
    for b in range(2):
        for y in range(9):
            for x in range(11):
                around = scores[b, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].amax((1, 2))
                border = y in (0, 8) or x in (0, 10)
                for c in range(2):
                    peak = not border and scores[b, c, y, x] == around[c]
                    assert found[b, c, y, x] == (scores[b, c, y, x] if peak else 0)
    assert torch.equal(found[:, 2], scores[:, 2])
    assert found[0, 0, 4, 4] == found[0, 0, 4, 5] == 2


def test_queries_are_the_best_and_equal_ones_keep_their_order() -> None:
    scores = torch.zeros(1, 2, 4, 5)
    scores[0, 1, 2, 3], scores[0, 0, 1, 1], scores[0, 0, 3, 0] = 0.9, 0.5, 0.5
    label, cell = top_queries(scores, 5)
    assert label.tolist() == [[1, 0, 0, 0, 0]]
    assert cell.tolist() == [[13, 6, 15, 0, 1]]
    assert top_queries(scores, 100)[0].shape == (1, 40)  # a map with fewer cells than queries


def test_a_neighbourhood_ends_at_the_border_or_goes_on_in_the_next_column() -> None:
    height, width, radius = 6, 9, 1
    cell = torch.tensor([[2 * width + 4, 0 * width + 3, 5 * width + 8]])  # the middle, the low border, a corner
    cut = neighbourhood(cell, (height, width), radius, wrapped=False)[0].view(3, height, width)
    for mask, (y, x) in zip(cut, ((2, 4), (0, 3), (5, 8))):
        wanted = torch.zeros(height, width, dtype=torch.bool)
        wanted[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        assert torch.equal(mask, wanted)
    wrapped = neighbourhood(cell, (height, width), radius)[0].view(3, height, width)
    assert torch.equal(wrapped[0], cut[0])
    beyond = cut[1].clone()
    beyond[5, 1:4] = True  # y - 1 of columns 2, 3, 4 is the last row of the columns before them
    assert torch.equal(wrapped[1], beyond)
    corner = cut[2].clone()
    corner[0, 8] = True  # y + 1 of column 7; behind the last column there is nothing
    assert torch.equal(wrapped[2], corner)


def test_a_query_of_the_local_form_depends_on_its_neighbourhood_alone() -> None:
    decoder = QueryDecoder(16, 4, 32, 0.0).eval()
    queries, cells, xy = torch.randn(1, 3, 16), torch.randn(1, 54, 16), torch.rand(54, 2)
    cell = torch.tensor([[22, 30, 5]])
    mask = neighbourhood(cell, (6, 9), 1, wrapped=False)
    first = decoder(queries, xy[cell], cells, xy, mask)
    changed = cells.clone()
    changed[0, ~mask[0, 0]] += 1
    again = decoder(torch.cat([queries[:, :1], queries[:, 1:] + 1], 1), xy[cell], changed, xy, mask)
    torch.testing.assert_close(first[:, 0], again[:, 0])
    assert not torch.allclose(first[:, 1], again[:, 1])
    everywhere = decoder(torch.cat([queries[:, :1], queries[:, 1:] + 1], 1), xy[cell], cells, xy)
    assert not torch.allclose(decoder(queries, xy[cell], cells, xy)[:, 0], everywhere[:, 0])


BOXES = torch.tensor(
    [
        [0, 0, 0, 4, 2, 1.5, 0.0, 1, 0],
        [0.2, 0, 0, 4, 2, 1.5, 0.0, 2, 0],
        [0, 0, 0, 0.6, 0.6, 1.7, 0.0, 0, 0],
        [0.1, 0, 0, 0.6, 0.6, 1.7, 0.0, 0, 0],
        [99, 0, 0, 4, 2, 1.5, 0.0, 0, 0],
    ]
)


def test_only_the_classes_named_are_suppressed() -> None:
    scores, labels = torch.tensor([0.5, 0.6, 0.3, 0.4, 0.9]), torch.tensor([0, 0, 1, 1, 0])
    everything = select(BOXES, scores, labels, None, QuerySelection(), ("car", "pedestrian"))
    torch.testing.assert_close(everything.scores, torch.tensor([0.6, 0.5, 0.4, 0.3]))  # 99 m is out of the range
    assert everything.boxes.velocity is not None
    assert everything.boxes.velocity[0, 0] == 2
    fewer = select(BOXES, scores, labels, None, QuerySelection(suppressed=("pedestrian",)), ("car", "pedestrian"))
    torch.testing.assert_close(fewer.scores, torch.tensor([0.6, 0.5, 0.4]))


def test_predicted_overlaps_rectify_scores_behind_the_threshold() -> None:
    scores, labels = torch.tensor([0.36, 0.09, 0.3, 0.4, 0.9]), torch.tensor([0, 0, 1, 1, 0])
    overlap = torch.tensor([0.0, 1.0, 1.0, -3.0, 0.0])
    rule = QuerySelection(score_threshold=0.1, rectifier=0.5)
    found = select(BOXES, scores, labels, overlap, rule, ("car", "pedestrian"))
    wanted = [math.sqrt(0.3), math.sqrt(0.36 * 0.5), 0.0]  # (0 + 1) / 2; below -1 counts as no overlap
    torch.testing.assert_close(found.scores, torch.tensor(wanted))
