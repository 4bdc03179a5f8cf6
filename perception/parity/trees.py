"""Files of SegmentAnyTree's network: weights by rule, voxels, the stages of the U-Net, heads and scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.heads.tree_heads import proposal_tensor
from perception.io.importers.segmentanytree import importer as segmentanytree
from perception.models.segmentanytree import SegmentAnyTree
from perception.models.tree_model import sites_of
from perception.parity.checks import Check, Tolerance, close, equal, failed
from perception.parity.extra_weights import extra_weights
from perception.parity.stages import Stage, captured
from perception.sparse import SparseTensor
from perception.trees.proposals import Proposals

FEATURES = Tolerance(absolute=2e-4)
# Sums of ever more blocks: the coarsest grids hold values of a hundred.
STAGES = Tolerance(absolute=2e-4, relative=1e-5)
INPUTS = ("in_coords_bxyz", "in_features")


def check_tree_model(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any], golden: Path) -> Iterator[Check]:
    """Every comparison that the file allows, in the order of the network."""
    state, digest = extra_weights(meta, golden)
    yield digest
    where = str(meta["key_list"])
    made = segmentanytree.plan(state, None, None, where, {})
    model = made.make().eval()
    assert isinstance(model, SegmentAnyTree)
    report = made.load(model, state, where)
    note = f"{len(report.mapped)} keys, strictly; {len(report.unused)} of parts that nothing calls"
    yield Check("import", True, 0.0, 0.0, len(report.mapped), note)
    yield Check("voxels", True, 0.0, 0.0, 0, "the input", INPUTS)
    x, row, moved = _input(stored, 2 ** sum(stride > 1 for stride, _ in model.config.downs))
    paths = {f"down{number}": f"backbone.downs.{number}" for number in range(len(model.backbone.downs))}
    paths |= {f"up{number}": f"backbone.ups.{number}" for number in range(len(model.backbone.ups))}
    with torch.inference_mode(), captured(model, paths) as stages:
        features = model.backbone(x)
        answers = model.voxel_heads(features.features)
        yield from _scores(model, features, row, stored)
    for name in sorted({match[1] for key in stored if (match := re.fullmatch(r"((?:down|up)\d+)_feat", key))}):
        yield from _stage(name, stages.get(name), moved, stored)
    for key, values in (
        ("features", features.features),
        ("semantic_logprob", answers.semantic),
        ("offset", answers.offset),
        ("embedding", answers.embedding),
    ):
        yield close(key, values[row].numpy(), stored[key], FEATURES, keys=(key,))


def _input(stored: Mapping[str, np.ndarray], multiple: int) -> tuple[SparseTensor, Tensor, np.ndarray]:
    """The voxels, our row of each stored one, and by how much (B, 3) cells x y z of each sample were moved."""
    given = torch.from_numpy(stored["in_coords_bxyz"].astype(np.int64))
    sample, batch = given[:, 0], int(given[:, 0].max()) + 1
    coordinates, shape = sites_of(given[:, 1:], sample, multiple, batch)
    x = SparseTensor.of(torch.from_numpy(stored["in_features"]), coordinates, shape, batch)
    moved = np.zeros((batch, 3), np.int64)
    moved[sample.numpy()] = (coordinates[:, 1:].flip(1) - given[:, 1:]).numpy()
    return x, x.sites.find(coordinates), moved


def _stage(name: str, stage: Stage | None, moved: np.ndarray, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """Sampled rows, found by their coordinates, and the mean of all rows."""
    keys = tuple(f"{name}_{part}" for part in ("n", "level", "coords_bxyz", "feat", "channel_mean"))
    if stage is None or stage.coordinates is None:
        yield failed(name, "our model does not show this stage", keys)
        return
    yield equal(f"{name} sites", len(stage.coordinates), stored[keys[0]], keys[:1])
    wanted = stored[keys[2]].astype(np.int64)
    wanted[:, 1:] += moved[wanted[:, 0]] >> int(stored[keys[1]])
    place = {tuple(row): number for number, row in enumerate(stage.coordinates[:, [0, 3, 2, 1]].tolist())}
    found = [place.get(tuple(row), -1) for row in wanted.tolist()]
    yield equal(f"{name} coordinates", np.array(found) < 0, np.zeros(len(found), bool), keys[1:3])
    yield close(f"{name} features", stage.values[found], stored[keys[3]], STAGES, keys=keys[3:4])
    mean = stage.values.mean(0, dtype=np.float64)
    yield close(f"{name} mean", mean, stored[keys[4]], STAGES, keys=keys[4:])


def _scores(
    model: SegmentAnyTree, features: SparseTensor, row: Tensor, stored: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    """The score network on the stored proposals, which begin in the stored rows' order."""
    given = torch.from_numpy(stored["scorer_rows"].astype(np.int64))
    cluster = torch.from_numpy(stored["scorer_cluster"].astype(np.int64))
    order = cluster.argsort(stable=True)
    proposals = Proposals(row[given[order]], cluster[order], int(cluster.max()) + 1)
    inside = model.score.unet(proposal_tensor(features, proposals))
    cells = features.coordinates[row[given]].clone()
    cells[:, 0] = cluster
    rows = inside.sites.find(cells)[torch.from_numpy(stored["scorer_feat_rows"].astype(np.int64))]
    keys = ("scorer_rows", "scorer_cluster", "scorer_feat_rows", "scorer_feat")
    yield close("scorer_feat", inside.features[rows].numpy(), stored["scorer_feat"], FEATURES, keys=keys)
    scores = model.score.logits(inside, proposals.number).sigmoid().numpy()
    yield close("scorer_score", scores, stored["scorer_score"], FEATURES, keys=("scorer_score",))
