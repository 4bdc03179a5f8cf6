"""Large results in large pages: the same memory otherwise."""

from __future__ import annotations

import pytest
import torch

from perception.sparse.engines.pages import LARGE, empty


@pytest.mark.parametrize("rows", [0, 3, LARGE // 32, LARGE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_can_be_written_to_its_ends(rows: int, dtype: torch.dtype) -> None:
    made = empty((rows, 8), dtype) if rows < LARGE else empty((rows // 8, 8), dtype)
    made.fill_(2)
    assert made.dtype == dtype
    assert made.is_contiguous()
    assert made.sum().item() == 2 * made.numel()
