"""Generated forest plots as a data set: for training the separation of trees without a download, and for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.simulate.forest.scanners import DENSITIES, SCANNERS, scanner_named
from perception.simulate.forest.scene import ForestScan, forest
from perception.simulate.forest.species import STANDS

OFFSETS = {"train": 0, "test": 1 << 40}
"""Of the seeds, so that no plot of a test is among those of training."""


class ForestDataset:
    """``length`` plots of ``side`` metres; sample i is a pure function of (seed, split, i) and the other arguments.

    Plot i is scanned by ``scanners[i % n]`` at a density drawn between half and twice the usual one of the scanner, or
    at ``density`` points a square metre. Clouds have the fields of ``ForestScan``; objects are the trees, as
    ``tree_objects`` gives them.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        scanners: Sequence[str] = tuple(SCANNERS),
        side: float = 20.0,
        density: float | None = None,
        kinds: Sequence[str] = tuple(STANDS),
        split: str = "train",
    ) -> None:
        if length < 0 or seed < 0:
            raise PerceptionError(f"a data set of length {length} and seed {seed}", "numbers from 0")
        if not scanners or not kinds:
            raise PerceptionError(
                "no scanner or no kind of stand", f"scanners of {', '.join(SCANNERS)}, kinds of stands"
            )
        if split not in OFFSETS:
            raise PerceptionError(f"no split of generated forests is called {split!r}", "train or test")
        for name in scanners:
            scanner_named(name)
        self.length, self.seed, self.side, self.density = length, seed, side, density
        self.scanners, self.kinds, self.split = tuple(scanners), tuple(kinds), split

    def __len__(self) -> int:
        return self.length

    @property
    def identifiers(self) -> list[str]:
        """One line for all scenes: a seed and a number are enough to make them again."""
        return [f"{self.split}, seed {self.seed}: {len(self)} scenes"]

    def __getitem__(self, index: int) -> Sample:
        return forest_sample(self.scan(index), f"forest_{self.split}_{self.seed}_{index:06d}")

    def scan(self, index: int) -> ForestScan:
        """The plot of a sample with its stand and its table of trees."""
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        number = OFFSETS[self.split] + self.seed * 1_000_003 + index
        u = np.random.Generator(np.random.PCG64([number, 15])).random(2)
        scanner = self.scanners[index % len(self.scanners)]
        density = self.density if self.density is not None else DENSITIES[scanner] * 4 ** (u[0] - 0.5)
        kind = self.kinds[int(u[1] * len(self.kinds))]
        return forest(number, scanner, side=self.side, density=density, kind=kind)


def forest_sample(scan: ForestScan, identifier: str) -> Sample:
    """A plot as a sample: its cloud, and as objects the trees with points in it."""
    return Sample(identifier, scan.cloud, tree_objects(scan))


def tree_objects(scan: ForestScan) -> Objects:
    """The trees that have points: boxes around those, names of the species.

    Attributes: ``tree_id`` as in the cloud, ``position`` (N, 3) of the foot, ``height``, ``diameter`` at 1.3 m,
    ``crown_diameter`` in metres, ``points``, and ``inside``, whether the stem stands in the plot.
    """
    tree, xyz = scan.cloud.fields["tree_id"], scan.cloud.xyz
    points = np.bincount(tree, minlength=len(scan.trees) + 1)[1:]
    low, high = np.full((len(points) + 1, 3), np.inf), np.full((len(points) + 1, 3), -np.inf)
    np.minimum.at(low, tree, xyz)
    np.maximum.at(high, tree, xyz)
    rows = np.flatnonzero(points)
    low, high = low[rows + 1], high[rows + 1]
    boxes = np.concatenate([(low + high) / 2, np.maximum(high - low, 0.01), np.zeros((len(rows), 1))], 1)
    attributes: dict[str, np.ndarray] = {
        "tree_id": (rows + 1).astype(np.int32),
        "points": points[rows],
        "inside": scan.inside[rows],
        "position": scan.trees.position[rows],
        "height": scan.trees.height[rows],
        "diameter": scan.trees.diameter[rows],
        "crown_diameter": scan.trees.crown_diameter[rows],
    }
    return Objects(Boxes3D(torch.from_numpy(boxes.astype(np.float32))), scan.trees.names()[rows], attributes)
