"""Published configurations of mmdet3d, unchanged, on our operators and on its own: equal losses and boxes."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "mmengine", reason="mmdet3d is not installed here: make test-mmdet3d runs these tests in an environment of its own"
)
pytest.importorskip("spconv", reason="spconv is mmdet3d's side of the comparison: make test-mmdet3d")

import torch
from both_ways import CENTRES, PILLAR_CENTRES, PILLARS, SECOND, Case, batch, boxes, losses, model_of, plain_operators


@pytest.mark.parametrize("case", [SECOND, PILLARS, CENTRES, PILLAR_CENTRES], ids=lambda case: case.name)
def test_losses_and_boxes_are_those_of_its_own_operators(case: Case) -> None:
    data = batch(case, points=400)
    ours = model_of(case.config, ours=True)
    found, gradients = losses(ours, data)
    mine = boxes(ours, data)
    official = model_of(case.config, ours=False)
    with plain_operators():
        expected, their_gradients = losses(official, data)
        theirs = boxes(official, data)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found.keys() == expected.keys()
    assert gradients.keys() == their_gradients.keys()
    mine_flat, their_flat = (torch.cat([g.flatten() for g in part.values()]) for part in (gradients, their_gradients))
    # Single precision has no more: see test_gradients.
    assert (mine_flat - their_flat).norm() <= 1e-2 * their_flat.norm()
    assert sum(len(part[0]) for part in theirs) > 0
    for (values, scores, labels), (other_values, other_scores, other_labels) in zip(mine, theirs):
        torch.testing.assert_close(scores, other_scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(values, other_values, rtol=1e-4, atol=1e-4)
        assert labels.tolist() == other_labels.tolist()
