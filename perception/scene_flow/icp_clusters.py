"""Scene flow without learning: things are clusters of points, and each moves rigidly or not at all.

After ICP-Flow (Lin & Caesar, CVPR 2024): clusters, a vote for the translation, iterated closest points, and a decision
whether a thing moves; and after the finding that this is hard to beat (Chodosh et al., WACV 2024).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from perception.config import config
from perception.results import SceneFlow
from perception.scan_pair import ScanPair, ground_mask
from perception.scene_flow.clusters import cluster
from perception.scene_flow.ground import pair_with_ground
from perception.scene_flow.many_icp import Motions, align_many, centres
from perception.scene_flow.votes import vote


@config
class ClusterFlowConfig:
    """Metres, for scans about 0.1 s apart.

    ``radius`` joins points into things, ``longest`` and ``fewest`` points bound what can be one that moves;
    ``furthest`` it goes (4 m: 144 km/h). A thing moves if all of these hold: its points then lie nearer to the second
    scan, the mean of distances, cut at ``truncation``, falling to ``gain`` of what it was; this mean was more than
    ``noise`` times the distance between neighbours on the thing, for another sampling of a surface that stands still
    looks so; less than ``taken`` of its points land where the first scan saw another thing; its centre goes
    ``shortest``, and it turns no further than ``sharpest`` radians.
    """

    radius: float = 0.7
    cell: float = 0.2
    longest: float = 20.0
    fewest: int = 8
    samples: int = 128
    furthest: float = 4.0
    vote_cell: float = 0.2
    scale: float = 0.2
    truncation: float = 0.4
    gain: float = 0.72
    noise: float = 0.9
    taken: float = 0.5
    shortest: float = 0.08
    sharpest: float = 0.3


DEFAULTS = ClusterFlowConfig()


def cluster_flow(pair: ScanPair, settings: ClusterFlowConfig = DEFAULTS) -> SceneFlow:
    """Flow (N, 3) and moving (N,) of the first scan's points; points on the ground never move by themselves."""
    return cluster_motion(pair, settings)[0]


def cluster_motion(pair: ScanPair, settings: ClusterFlowConfig = DEFAULTS) -> tuple[SceneFlow, np.ndarray]:
    """``cluster_flow`` and the thing (N,) int64 that each of these points belongs to, from 0, or -1."""
    pair = pair_with_ground(pair)
    flow = pair.ego_flow()
    moving = np.zeros(len(flow), np.bool_)
    thing = np.full(len(flow), -1, np.int64)
    moved, second = pair.moved(), pair.second.xyz
    rows = np.flatnonzero(np.isfinite(moved).all(1) & ~ground_mask(pair.first))
    target = second[np.isfinite(second).all(1) & ~ground_mask(pair.second)].astype(np.float64)
    if len(rows) and len(target):
        points = moved[rows]
        things = _things(points, settings)
        motions = _motions(points, things, target, settings)
        goes = (motions.shift != 0).any(1) | (motions.turn != 0)
        thing[rows] = things
        own = np.flatnonzero(things >= 0)
        own = own[goes[things[own]]]
        flow[rows[own]] += (motions.apply(points[own], things[own]) - points[own]).astype(np.float32)
        moving[rows[own]] = True
    return SceneFlow(torch.from_numpy(flow), torch.from_numpy(moving)), thing


def _things(points: np.ndarray, settings: ClusterFlowConfig) -> np.ndarray:
    """(N,) int64: the thing that each point belongs to, numbered from 0, or -1 where it can be none that moves."""
    found = cluster(points, settings.radius, settings.cell)
    count = int(found.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, found, points[:, :2])
    np.maximum.at(high, found, points[:, :2])
    kept = (np.bincount(found) >= settings.fewest) & (np.hypot(*(high - low).T) <= settings.longest)
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return number[found]


def _motions(points: np.ndarray, things: np.ndarray, target: np.ndarray, settings: ClusterFlowConfig) -> Motions:
    """The motion of every thing, none at all for those that stand still."""
    count = int(things.max()) + 1
    sample, owner = _samples(points, things, settings.samples)
    still = Motions(centres(sample, owner, count), np.zeros(count), np.zeros((count, 3)))
    tree = cKDTree(target)
    guess = np.zeros((count, 3))
    guess[:, :2] = vote(sample, owner, count, target, settings.furthest, settings.vote_cell)
    starts = still, Motions(still.centre, still.turn, guess)
    found = [align_many(sample, owner, start, tree, settings.scale) for start in starts]
    costs = [_cost(sample, owner, motions, tree, settings.truncation) for motions in found]
    better = costs[1] < costs[0]
    turn = np.where(better, found[1].turn, found[0].turn)
    shift = np.where(better[:, None], found[1].shift, found[0].shift)
    best = Motions(still.centre, turn, shift)
    before, after = _cost(sample, owner, still, tree, settings.truncation), np.minimum(*costs)
    own = cKDTree(points)
    length = np.linalg.norm(shift, axis=1)
    moves = (after <= settings.gain * before) & (length >= settings.shortest)
    moves &= (length <= settings.furthest * 1.1) & (np.abs(turn) <= settings.sharpest)
    moves &= before > settings.noise * _spacing(sample, owner, count, own, settings.truncation)
    moves &= _taken(best.apply(sample, owner), owner, count, tree, own, things, settings.truncation) < settings.taken
    return Motions(still.centre, np.where(moves, turn, 0), np.where(moves[:, None], shift, 0))


def _spacing(sample: np.ndarray, owner: np.ndarray, count: int, own: cKDTree, most: float) -> np.ndarray:
    """Mean distance (count,) from the points of each thing to the next point of the same scan."""
    distance = own.query(sample, k=2, distance_upper_bound=most)[0][:, 1]
    return _mean(np.minimum(distance, most), owner, count)


def _taken(
    moved: np.ndarray, owner: np.ndarray, count: int, tree: cKDTree, own: cKDTree, things: np.ndarray, most: float
) -> np.ndarray:
    """Share (count,) of each thing's points that land on what the first scan saw there already, of another thing."""
    distance, row = tree.query(moved, distance_upper_bound=most)
    landed = np.isfinite(distance)
    distance, earlier = own.query(tree.data[np.where(landed, row, 0)], distance_upper_bound=most)
    there = np.isfinite(distance)
    other = landed & there & (things[np.where(there, earlier, 0)] != owner)
    return _mean(other.astype(np.float64), owner, count)


def _mean(values: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    return np.asarray(np.bincount(owner, values, count) / np.maximum(np.bincount(owner, minlength=count), 1))


def _samples(points: np.ndarray, things: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``most`` points of each thing, evenly from its own in their order, and their things ascending."""
    order = np.argsort(things, kind="stable")
    order = order[things[order] >= 0]
    owner = things[order]
    size = np.bincount(owner) if len(owner) else np.zeros(0, np.int64)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    many = size[owner]
    kept = (many <= most) | ((rank * most) // np.maximum(many, 1) != ((rank - 1) * most) // np.maximum(many, 1))
    return points[order[kept]], owner[kept]


def _cost(sample: np.ndarray, owner: np.ndarray, motions: Motions, tree: cKDTree, truncation: float) -> np.ndarray:
    """Mean distance (T,) of each thing's moved points from the second scan."""
    distance, _ = tree.query(motions.apply(sample, owner), distance_upper_bound=truncation)
    return _mean(np.minimum(distance, truncation), owner, len(motions.turn))
