"""From the points of a tile or a plot to its trees: thinned, cut into blocks, through a network, joined, refined.

``segment_trees`` is the one call. The tiles of a large map (``perception.io.las_tiles``) go through it one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from scipy.spatial import cKDTree

from perception.errors import PerceptionError, nearest
from perception.models.model import Model
from perception.models.segmentanytree import SegmentAnyTree
from perception.models.tree_model import HEIGHT, nearest_to_centre
from perception.models.treelearn import TreeLearn
from perception.points import PointCloud
from perception.results import TreeInstances
from perception.trees.blocks import cylinders, squares
from perception.trees.classical import METHODS
from perception.trees.grouping import group_shifted
from perception.trees.merging import LabelledBlock, merge_blocks, numbered_by_first_row, official_merge
from perception.trees.shape import verticality

Method = Callable[[PointCloud], TreeInstances]


@dataclass(frozen=True)
class Blocks:
    """How a cloud is cut. Cylinders of ``radius`` on a grid of ``step``, None for the model's own (SegmentAnyTree);
    squares of ``inner`` metres with ``margin``, the next one ``stride`` of ``inner`` on (TreeLearn). ``at_once`` make a
    batch.

    ``official_axes`` lays the grid along the cloud's principal axes, as published.

    ``merging``: ``official`` goes from block to block and depends on their order. Thinned points hand their tree on to
    what is within ``reach``; trees of fewer than ``least_points`` are dropped.
    """

    radius: float = 8.0
    step: float | None = None
    inner: float = 8.0
    margin: float = 13.5
    stride: float = 0.5
    at_once: int = 4
    official_axes: bool = False
    merging: Literal["all_at_once", "official"] = "all_at_once"
    reach: float = 1.0
    least_points: int = 10


def segment_trees(method: Model | str | Method, cloud: PointCloud, blocks: Blocks | None = None) -> TreeInstances:
    """The trees of one tile or plot.

    ``method``: a tree model, the name of a classical method ("watershed", "li2012", "stems"), or a function of a cloud.
    Ids count from 1. Raises PerceptionError for other models and names.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise PerceptionError(f"no method {method!r}", f"one of {', '.join(METHODS)}", nearest(method, METHODS))
        method = METHODS[method]
    if not isinstance(method, Model):
        return method(cloud)
    if not len(cloud):
        return TreeInstances(torch.zeros(0, dtype=torch.int32), torch.zeros(0), torch.zeros(0, dtype=torch.uint8))
    blocks = blocks or Blocks()
    z = cloud.xyz[:, 2]
    height = cloud.fields.get(HEIGHT, z - z.min())
    cloud = replace(cloud, fields={HEIGHT: height})
    if isinstance(method, SegmentAnyTree):
        return _by_cylinders(method, cloud, blocks)
    if isinstance(method, TreeLearn):
        return _by_squares(method, cloud, blocks)
    raise PerceptionError(f"a {type(method).__name__}", "a model of trees", "`perception models` lists the tasks")


def thinned(xyz: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each voxel the row of the point nearest to its middle, and the voxel (N,) of each point."""
    place = torch.from_numpy(xyz) / size
    cells = place.floor()
    low = cells.amin(0)
    spans = (cells.amax(0) - low + 1).long()
    steps = torch.tensor([int(spans[1] * spans[2]), int(spans[2]), 1])
    keys = ((cells - low).long() * steps).sum(1)
    chosen, cell = nearest_to_centre(keys, ((place - cells - 0.5) ** 2).sum(1), torch.from_numpy(xyz))
    return chosen.numpy(), cell.numpy()


@torch.inference_mode()
def _by_cylinders(model: SegmentAnyTree, cloud: PointCloud, how: Blocks) -> TreeInstances:
    """SegmentAnyTree's inference: sums of log-probabilities, and merged trees, over cylinders."""
    chosen, cell = thinned(cloud.xyz, model.config.voxel_size)
    thin = cloud.select(chosen)
    semantic = torch.zeros((len(thin), len(model.classes)), dtype=torch.float64)
    labelled = []
    ground = thin.xyz[:, :2] + thin.origin[:2]
    parts_of = cylinders(ground, how.radius, how.step or model.config.block_step, how.official_axes)
    for parts in _batches(parts_of, how.at_once):
        predictions = model(model.voxelise(model.points([thin.select(rows) for rows in parts])))
        rows = np.concatenate(parts)
        voxel = predictions.voxels.voxel
        semantic.index_add_(0, torch.from_numpy(rows), predictions.answers.semantic[voxel].double().cpu())
        for index, found in zip(parts, model.results(predictions)):
            labelled.append(LabelledBlock(index, found.tree_id.numpy(), found.tree_score.numpy()))
    merge = official_merge if how.merging == "official" else merge_blocks
    merged = merge(labelled, len(thin))
    return _handed_on(cloud, chosen, cell, merged.tree_id, merged.score, semantic.argmax(1).numpy(), how)


@torch.inference_mode()
def _by_squares(model: TreeLearn, cloud: PointCloud, how: Blocks) -> TreeInstances:
    """TreeLearn's inference: means of logits and offsets over squares, and one grouping of the whole."""
    chosen, cell = thinned(cloud.xyz, model.config.voxel_size)
    thin = cloud.select(chosen)
    sums = torch.zeros((len(thin), 6), dtype=torch.float64)
    ground = thin.xyz[:, :2] + thin.origin[:2]
    for part in squares(ground, how.inner, how.margin, how.stride * how.inner):
        rows, inside = part
        predictions = model(model.voxelise(model.points([thin.select(rows)])))
        voxel = predictions.voxels.voxel[torch.from_numpy(inside)]
        answers = torch.cat([predictions.semantic, predictions.offset], 1)[voxel].double().cpu()
        ones = torch.ones((len(answers), 1), dtype=torch.float64)
        sums.index_add_(0, torch.from_numpy(rows[inside]), torch.cat([answers, ones], 1))
    mean = sums[:, :5] / sums[:, 5:].clamp(min=1)
    probability = mean[:, :2].softmax(1)[:, 1].float().numpy()
    upright = verticality(thin.xyz, model.config.verticality_radius)
    label = group_shifted(thin.xyz, mean[:, 2:].numpy(), probability, upright, model.config.grouping)
    semantic = probability >= model.config.grouping.tree_probability
    return _handed_on(cloud, chosen, cell, label, probability, semantic, how)


def _batches(parts: Iterator[np.ndarray], number: int) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for part in parts:
        batch.append(part)
        if len(batch) == number:
            yield batch
            batch = []
    if batch:
        yield batch


def _handed_on(
    cloud: PointCloud,
    chosen: np.ndarray,
    cell: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    semantic: np.ndarray,
    how: Blocks,
) -> TreeInstances:
    """From the thinned points to all: each takes what its nearest labelled one has, if that is near enough."""
    semantic = semantic.astype(np.uint8)[cell]
    tree_id, scores = np.zeros(len(cloud), np.int32), np.zeros(len(cloud), np.float32)
    labelled = np.flatnonzero(label)
    if len(labelled):
        open_ = np.flatnonzero(semantic)
        # The thinned point of its own voxel is near enough not to look for another.
        own = label[cell[open_]] > 0
        near = cell[open_]
        far = np.flatnonzero(~own)
        distance, found = cKDTree(cloud.xyz[chosen[labelled]]).query(
            cloud.xyz[open_[far]], distance_upper_bound=how.reach
        )
        within = np.isfinite(distance)
        near[far[within]] = labelled[found[within]]
        tree_id[open_], scores[open_] = label[near], np.where(label[near] > 0, score[near], 0)
    small = np.bincount(tree_id) < how.least_points
    tree_id[small[tree_id]] = 0
    scores[tree_id == 0] = 0
    numbers = numbered_by_first_row(tree_id.astype(np.int64) - 1)
    return TreeInstances(torch.from_numpy(numbers), torch.from_numpy(scores), torch.from_numpy(semantic))
