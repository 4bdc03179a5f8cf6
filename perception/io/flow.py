"""Scene flow of one pair as an .npz file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perception.io.files import write_atomically
from perception.results import SceneFlow
from perception.scan_pair import ScanPair, ground_mask


def write_flow(path: str | Path, pair: ScanPair, found: SceneFlow, facts: Mapping[str, str]) -> None:
    """Arrays with a row for each point of the first scan that was read: ``flow`` (N, 3) float32 metres with the ego
    motion, ``moving`` (N,) bool, ``ground`` (N,) bool, ``xyz`` (N, 3) float32 about ``origin`` (3,).

    Further ``pose`` (4, 4) from the first scan's frame to the second's, ``seconds`` between them (NaN where the files
    do not tell), ``dropped`` (2,) points of both files that were left out for they were not finite, and the ``facts``.
    """
    stamps = pair.first.stamp, pair.second.stamp
    arrays: dict[str, Any] = {
        "flow": found.flow.numpy().astype(np.float32),
        "moving": found.moving.numpy().astype(np.bool_),
        "ground": ground_mask(pair.first),
        "xyz": pair.first.xyz,
        "origin": pair.first.origin,
        "pose": pair.pose,
        "seconds": np.nan if stamps[0] is None or stamps[1] is None else stamps[1] - stamps[0],
        "dropped": np.array([pair.first.dropped, pair.second.dropped], np.int64),
        **{name: np.array(text) for name, text in facts.items()},
    }
    with write_atomically(path) as file:
        np.savez_compressed(file, **arrays)
