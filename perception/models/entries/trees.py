"""Models of individual trees."""

from __future__ import annotations

from perception.models.entries.entry import Entry
from perception.models.segmentanytree import SMALL as SEGMENTANYTREE_SMALL
from perception.models.segmentanytree import SegmentAnyTree, SegmentAnyTreeConfig
from perception.models.treelearn import TreeLearn, TreeLearnConfig

TREES: dict[str, Entry] = {
    "segmentanytree": Entry(
        SegmentAnyTree,
        SegmentAnyTreeConfig(),
        "trees",
        "SegmentAnyTree (2024): sparse U-Net, shifted points and embeddings, scored proposals; lidar of any platform",
        {"segmentanytree": "PointGroup-PAPER"},
    ),
    "segmentanytree-small": Entry(
        SegmentAnyTree,
        SEGMENTANYTREE_SMALL,
        "trees",
        "SegmentAnyTree for CPUs: a twelfth of the weights, voxels of 0.25 m; lidar of any platform",
    ),
    "treelearn": Entry(
        TreeLearn,
        TreeLearnConfig(),
        "trees",
        "TreeLearn (2024): sparse U-Net of 0.1 m, points shifted to the feet of their trees; terrestrial lidar",
        {"treelearn": "treelearn"},
    ),
}
