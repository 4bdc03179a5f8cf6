"""Loop closure against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perception.metrics.loop_closure import loop_closure


def test_by_hand() -> None:
    found = loop_closure(
        np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, False, True, False]), np.array([True, True, True, False])
    )
    np.testing.assert_allclose(found.precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(found.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert found.max_f1 == pytest.approx(2 / 3)
    assert found.best_threshold == 0.3
    assert found.recall_at_full_precision == pytest.approx(1 / 3)
    assert found.revisits == 3


def test_against_every_threshold() -> None:
    rng = np.random.default_rng(0)
    distances, revisit = rng.integers(0, 20, 200) / 10, rng.random(200) < 0.5
    right = revisit & (rng.random(200) < 0.7)
    found = loop_closure(distances, right, revisit)
    best = 0.0
    for threshold in np.unique(distances):
        called = distances <= threshold
        precision, recall = right[called].mean(), right[called].sum() / revisit.sum()
        best = max(best, 2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    assert found.max_f1 == pytest.approx(best)
    assert len(found.thresholds) == len(np.unique(distances))


def test_nothing_asked() -> None:
    found = loop_closure(np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))
    assert found.max_f1 == 0.0
