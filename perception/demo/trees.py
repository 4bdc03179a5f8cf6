"""Individual trees."""

from __future__ import annotations

import numpy as np

from perception.simulate.forest.scene import forest
from perception.timing import Stopwatch
from perception.trees.whole_cloud import segment_trees
from perception.view.report import Chapter
from perception.view.trees import tree_picture

METHOD = "stems"
SEED, SIDE, DENSITY = 900_001, 24.0, 500.0


def trees() -> Chapter:
    """A generated stand under a backpack scanner, by the stems that it shows: better than the small network so far."""
    scan, watch = forest(SEED, "mobile", side=SIDE, density=DENSITY, kind="pine"), Stopwatch()
    with watch.lap("trees"):
        found = segment_trees(METHOD, scan.cloud)
    number = len(np.unique(found.tree_id[found.tree_id > 0].numpy()))
    text = (
        f"{number} trees found of {int(scan.inside.sum())} that stand in the plot, {len(scan.cloud):,} points: "
        f"{METHOD}, {watch.seconds['trees']:.1f} s."
    )
    return Chapter("Individual trees", text, (("From above and from the side", tree_picture(scan.cloud, found)),))
