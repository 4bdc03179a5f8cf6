"""A plot through a network in blocks: every point gets what the blocks say, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.errors import PerceptionError
from perception.heads.tree_heads import VoxelAnswers
from perception.metrics.trees import tree_overlaps
from perception.models.catalogue import MODELS
from perception.models.segmentanytree import SegmentAnyTree, SegmentAnyTreeConfig, TreePredictions
from perception.models.tree_model import TreeVoxels
from perception.models.treelearn import FootPredictions, TreeLearn, TreeLearnConfig
from perception.points import PointCloud
from perception.trees.grouping import Grouping
from perception.trees.whole_cloud import Blocks, segment_trees, thinned

PLACES = np.array([[x, y] for x in range(-9, 28, 9) for y in range(-9, 19, 9)], float)


def plot(seed: int = 0) -> PointCloud:
    generator = np.random.default_rng(seed)
    tree = np.repeat(np.arange(len(PLACES)), 500)
    up = generator.uniform(0, 12, len(tree))
    wide = np.where(up > 6, 2.5, 0.1)[:, None] * generator.uniform(-1, 1, (len(tree), 2))
    ground = np.column_stack([generator.uniform(-12, 30, (4000, 2)), np.zeros(4000)])
    xyz = np.concatenate([np.column_stack([PLACES[tree] + wide, up]), ground])
    return PointCloud(xyz, {"tree": np.concatenate([tree + 1, np.zeros(4000, int)])}, origin=np.array([5e5, 6e6, 0]))


class KnowingSegmentAnyTree(SegmentAnyTree):
    """What a perfect network would answer on ``plot``, whose places it finds from the height of each voxel."""

    def forward(self, voxels: TreeVoxels) -> TreePredictions:
        trees = torch.from_numpy(PLACES).float()
        centre = self.centres[voxels.sample]
        apart = torch.cdist(voxels.xyz[:, :2] + centre, trees)
        nearest = apart.argmin(1)
        tree = (voxels.tensor.features[:, 3] > 0.05) & (apart.amin(1) < 4)
        semantic = torch.stack([~tree, tree], 1).float().mul(10).log_softmax(1)
        offset = torch.cat([trees[nearest] - centre, torch.zeros(len(nearest), 1)], 1) - voxels.xyz
        embedding = torch.cat([10.0 * trees[nearest], torch.zeros(len(nearest), 3)], 1)
        answers = VoxelAnswers(semantic, offset, embedding)
        proposals = self.proposals(voxels, answers)
        return TreePredictions(voxels, answers, proposals, torch.full((proposals.number,), 3.0))

    def points(self, clouds):  # type: ignore[no-untyped-def, override]
        self.centres = torch.tensor(np.array([c.xyz[:, :2].mean(0, dtype=np.float64) for c in clouds])).float()
        return super().points(clouds)


class KnowingTreeLearn(TreeLearn):
    def forward(self, voxels: TreeVoxels) -> FootPredictions:
        trees = torch.from_numpy(PLACES).float()
        apart = torch.cdist(voxels.xyz[:, :2], trees)
        feet = torch.cat([trees[apart.argmin(1)], torch.zeros(len(apart), 1)], 1)
        tree = (voxels.xyz[:, 2] > 0.05) & (apart.amin(1) < 4)
        return FootPredictions(voxels, torch.stack([~tree, tree], 1).float() * 10, feet - voxels.xyz)


@pytest.mark.parametrize("merging", ["all_at_once", "official"])
def test_perfect_answers_in_cylinders_give_perfect_trees(merging: str) -> None:
    cloud = plot()
    model = KnowingSegmentAnyTree(SegmentAnyTreeConfig()).eval()
    found = segment_trees(model, cloud, Blocks(merging=merging))  # type: ignore[arg-type]
    scores = tree_overlaps(cloud.fields["tree"], found.tree_id.numpy()).scores()
    assert len(scores.pairs) == len(PLACES)
    # The official form leaves slivers that cylinders cut off as trees of their own.
    assert scores.predicted == len(PLACES) or (merging == "official" and scores.predicted < 1.3 * len(PLACES))
    assert scores.segmentation_quality > 0.97
    assert (found.tree_id[found.semantic == 0] == 0).all()


def test_perfect_answers_in_squares_give_perfect_trees() -> None:
    cloud = plot()
    config = TreeLearnConfig(channels=8, grouping=Grouping(largest_offset=20.0, least_verticality=0.0))
    found = segment_trees(KnowingTreeLearn(config).eval(), cloud)
    scores = tree_overlaps(cloud.fields["tree"], found.tree_id.numpy()).scores()
    assert (len(scores.pairs), scores.predicted) == (len(PLACES), len(PLACES))
    assert scores.segmentation_quality > 0.97


@pytest.mark.parametrize("name", ["segmentanytree", "treelearn"])
def test_untrained_networks_and_few_points(name: str) -> None:
    model = MODELS[name].make(MODELS[name].defaults).eval()
    for count in (0, 1, 30):
        found = segment_trees(model, plot().select(np.arange(count)))
        assert len(found.tree_id) == len(found.tree_score) == len(found.semantic) == count


def test_other_models_are_refused() -> None:
    second = MODELS["pointpillars-small"]
    with pytest.raises(PerceptionError, match="model of trees"):
        segment_trees(second.make(second.defaults), plot())


def test_thinning_keeps_one_point_a_voxel_whatever_their_order() -> None:
    xyz = np.random.default_rng(0).uniform(-3, 3, (4000, 3)).astype(np.float32)
    chosen, cell = thinned(xyz, 0.5)
    keys = np.unique(np.floor(xyz / np.float32(0.5)), axis=0)
    assert len(chosen) == len(keys)
    assert np.array_equal(np.floor(xyz[chosen][cell] / np.float32(0.5)), np.floor(xyz / np.float32(0.5)))
    order = np.random.default_rng(1).permutation(4000)
    again, _ = thinned(xyz[order], 0.5)
    assert np.array_equal(xyz[order][again], xyz[chosen])
