"""How another implementation takes part in the benchmark of detectors.

A peer is a Python module of your own, on the path (PYTHONPATH=FOLDER), with one function:

    def build(name: str, model: Detector, threads: int) -> Callable[[np.ndarray], tuple[dict[str, float], np.ndarray]]

``name`` is a name of the catalogue and ``model`` our model, ready to use: the peer takes over its ``config`` (range,
voxel size, classes, selection) and the numbers of its ``state_dict()``, so that both do the same work. The answer is
None where the peer has no such model; else it takes points (N, 3 + features) float32, as our model reads them, runs
one frame from voxels to boxes on ``threads`` threads, and gives the seconds of each stage and the boxes (M, 7), or
(M, 9) with velocities, in our convention. Stages bear our names where they do the same (voxelise, results and the
model's ``stages``), else any name.
``VERSIONS``, a dict of strings in the module, is copied into the figures.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from perception.errors import PerceptionError
from perception.models.detector import Detector

Run = Callable[[np.ndarray], tuple[Mapping[str, float], np.ndarray]]

SAME_METRES, SAME_SHARE = 0.01, 0.99
# A second stage groups what lies within a radius: rounding moves a neighbour over its edge, and with it a whole box.
SAME_SHARE_TWO_STAGES = 0.95


@dataclass(frozen=True)
class Peer:
    """``name`` heads the columns of the table."""

    name: str
    build: Callable[[str, Detector, int], Run | None]
    versions: Mapping[str, str]


def load_peer(text: str) -> Peer:
    """The peer named MODULE or MODULE:FUNCTION."""
    module_name, _, function_name = text.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise PerceptionError(
            f"the peer {module_name!r} cannot be imported: {error}",
            "a module on the path, whose own packages are installed",
            "add its folder: PYTHONPATH=FOLDER",
        ) from None
    build = getattr(module, function_name or "build", None)
    if not callable(build):
        raise PerceptionError(
            f"{module_name} has no function {function_name or 'build'!r}",
            "a function build(name, model, threads)",
            "tools/benchmark/peers.py says what it answers",
        )
    return Peer(module_name, build, dict(getattr(module, "VERSIONS", {})))


def matched(ours: np.ndarray, theirs: np.ndarray) -> int:
    """How many boxes of the one set have a twin in the other: within a centimetre, a hundredth of a radian, and 1 cm/s
    where both have velocities.
    """
    if not len(ours) or not len(theirs):
        return 0
    columns = min(ours.shape[1], theirs.shape[1])
    difference = np.abs(ours[:, None, :columns] - theirs[None, :, :columns])
    turned = difference[..., 6] % (2 * np.pi)
    difference[..., 6] = np.minimum(turned, 2 * np.pi - turned)
    twins = (difference < SAME_METRES).all(-1)
    return int(min(twins.any(0).sum(), twins.any(1).sum()))


def same_boxes(ours: np.ndarray, theirs: np.ndarray, share: float = SAME_SHARE) -> bool:
    """Whether at least this share of the boxes of either side have a twin on the other."""
    return matched(ours, theirs) >= share * max(len(ours), len(theirs))
