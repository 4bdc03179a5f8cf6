"""From a row of the table of trees to solids: stem, forks, branches and clumps of foliage, by the form of the crown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.simulate.forest.parts import DEAD_BRANCH, LIVE_BRANCH, STEM, Parts, below, foliage, join, wood
from perception.simulate.forest.species import CONE, ROUND, SNAG, SPECIES, UMBRELLA, Species, stem_radius
from perception.simulate.forest.stand import Trees

GOLDEN = np.pi * (3 - np.sqrt(5))
BARK = 0.38


@dataclass(frozen=True, eq=False)
class Stem:
    """One tree while it is built: number from 1, place, sizes in metres, and the curve of its stem."""

    number: int
    foot: np.ndarray
    height: float
    diameter: float
    crown_radius: float
    crown_base: float
    species: Species
    lean: np.ndarray
    bow: np.ndarray

    def axis(self, z: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the stem's axis at heights ``z`` above the foot."""
        share = np.clip(np.asarray(z)[..., None] / self.height, 0, None)
        aside = self.lean * share**1.3 + self.bow * np.sin(np.pi * share)
        return np.concatenate([self.foot[:2] + aside, self.foot[2] + np.asarray(z)[..., None]], -1)

    def radius(self, z: np.ndarray) -> np.ndarray:
        """Radii in metres at heights ``z``; saplings without a diameter have thin ones."""
        return stem_radius(z, max(self.diameter, 0.012 * self.height), self.height, self.species.taper)


def build_trees(trees: Trees, detail: float, rng: np.random.Generator) -> Parts:
    """The solids of all trees; ``detail`` 1 is enough from the air, 3 from a few metres."""
    return join([_build(_stem(trees, row, rng), detail, rng) for row in range(len(trees))])


def _stem(trees: Trees, row: int, rng: np.random.Generator) -> Stem:
    height = float(trees.height[row])
    return Stem(
        row + 1,
        trees.position[row],
        height,
        float(trees.diameter[row]),
        float(trees.crown_diameter[row]) / 2,
        float(trees.crown_base[row]),
        SPECIES[trees.species[row]],
        trees.lean[row],
        0.012 * height * (2 * rng.random(2) - 1),
    )


def _build(stem: Stem, detail: float, rng: np.random.Generator) -> Parts:
    make = {SNAG: _snag, ROUND: _broadleaf, CONE: _conifer, UMBRELLA: _conifer}[stem.species.form]
    return below(make(stem, detail, rng), float(stem.foot[2]) + stem.height)


def _trunk(stem: Stem, top: float, detail: float) -> Parts:
    """The stem up to ``top`` metres, its pieces shorter near the swelling of the foot."""
    pieces = 5 + int(min(3 * detail, 9))
    z = np.concatenate([[-0.15, 0.25, 0.6], np.linspace(BREAST_PIECE, top, pieces)]) if top > 3 else _short(top)
    nodes, radii = stem.axis(z), stem.radius(np.maximum(z, 0))
    return wood(nodes[:-1], nodes[1:], np.column_stack([radii[:-1], radii[1:]]), stem.number, STEM, BARK)


BREAST_PIECE = 1.2


def _short(top: float) -> np.ndarray:
    return np.array([-0.1, 0.4 * top, top])


def _conifer(stem: Stem, detail: float, rng: np.random.Generator) -> Parts:
    """Whorls of branches about one stem: a cone that droops below, or an umbrella over a bare stem."""
    form, length = stem.species.form, stem.height - stem.crown_base
    count = int(np.clip(detail * (14 + 4.5 * length), 12, 320))
    per_whorl = 5
    whorl = np.arange(count) // per_whorl
    # some branches stand between the whorls
    stray = 0.25 + 0.75 * (rng.random(count) < 0.45)
    share = np.clip((whorl + 0.5 + stray * (rng.random(count) - 0.5)) / (count / per_whorl), 0, 0.985)
    azimuth = whorl * GOLDEN + 2 * np.pi / per_whorl * (np.arange(count) % per_whorl) + 0.7 * rng.random(count)
    z = stem.crown_base + share * length
    if form == CONE:
        reach = stem.crown_radius * (1 - share) ** 0.75 * np.minimum(1, 0.62 + 2.5 * share)
        rise = np.radians(-22 + 62 * share)
    else:
        reach = stem.crown_radius * np.sqrt(np.clip(1 - ((share - 0.35) / 0.66) ** 2, 0.03, 1))
        rise = np.radians(5 + 50 * share)
    reach = reach * (0.72 + 0.36 * rng.random(count))
    if form == UMBRELLA:  # the ends make a dome
        dome = stem.height - 0.3 * length * (reach / stem.crown_radius) ** 2 - 0.2 * reach
        rise = np.minimum(rise, np.arctan2(dome - z, reach))
    heading = np.stack([np.cos(azimuth) * np.cos(rise), np.sin(azimuth) * np.cos(rise), np.sin(rise)], -1)
    start = stem.axis(z)
    span = reach / np.maximum(np.cos(rise), 0.5)
    parts = [_trunk(stem, stem.height, detail), _limbs(stem, start, heading, span, LIVE_BRANCH)]
    parts.append(_needles(stem, start, heading, span, detail, rng))
    if form == CONE:
        parts.append(_leader(stem))
    parts.append(_dead_branches(stem, detail, rng))
    return join(parts)


def _leader(stem: Stem) -> Parts:
    """Needles about the youngest shoots at the top."""
    tip = stem.height - 0.06 * (stem.height - stem.crown_base)
    centre = stem.axis(np.array([tip]))
    radii = np.array([[0.09 * stem.height + 0.1, 0.12 + 0.008 * stem.height, 0.12 + 0.008 * stem.height]])
    radii[:, 0] = np.minimum(radii[:, 0], stem.height - tip)
    return foliage(centre, np.array([[0, 0, 1.0]]), radii, stem.number, stem.species.extinction)


def _needles(
    stem: Stem, start: np.ndarray, heading: np.ndarray, span: np.ndarray, detail: float, rng: np.random.Generator
) -> Parts:
    """Flat sprays along the branches of a cone; rounder tufts towards the ends of those of an umbrella."""
    cone = stem.species.form == CONE
    places = np.array([0.45, 0.8]) if detail < 2 else np.array([0.32, 0.52, 0.72, 0.9])
    if not cone:
        places = np.array([0.62, 0.9]) if detail < 2 else np.array([0.5, 0.66, 0.82, 0.96])
    jitter = rng.random((len(span), len(places), 4))
    sag = 0.10 if cone else -0.05
    along = (places + 0.1 * (jitter[..., 0] - 0.5)) * span[:, None]
    centre = start[:, None] + heading[:, None] * along[..., None]
    centre[..., 2] -= sag * along**2 / np.maximum(span[:, None], 0.2)
    centre[..., :2] += 0.12 * span[:, None, None] * (jitter[..., 1:3] - 0.5)
    size = span[:, None] * (0.8 + 0.4 * jitter[..., 3]) * (0.9 if detail < 2 else 0.62)
    ratio = np.array([0.50, 0.34, 0.16]) if cone else np.array([0.36, 0.34, 0.27])
    radii = np.maximum(size[..., None] * ratio, [0.10, 0.09, 0.05])
    # a spray is as long as what is left of its branch
    along_axis = np.broadcast_to(heading[:, None], centre.shape)
    kind = stem.species
    return foliage(
        centre.reshape(-1, 3), along_axis.reshape(-1, 3), radii.reshape(-1, 3), stem.number, kind.extinction,
        LIVE_BRANCH, kind.reflectance,
    )  # fmt: skip


def _limbs(stem: Stem, start: np.ndarray, heading: np.ndarray, span: np.ndarray, semantic: int) -> Parts:
    """Branches from the stem's axis, thin ones."""
    thick = np.minimum(0.006 + 0.009 * span, 0.6 * stem.radius(start[:, 2] - stem.foot[2]) + 0.004)
    return wood(
        start, start + heading * span[:, None], np.column_stack([thick, 0.25 * thick]), stem.number, semantic, BARK
    )


def _dead_branches(stem: Stem, detail: float, rng: np.random.Generator) -> Parts:
    """Leafless stubs under the crown, longest just below it."""
    clear = stem.crown_base - 1.0
    count = int(np.clip(clear * detail * 1.6, 0, 60)) if clear > 1 else 0
    z = 1.0 + clear * np.sqrt(rng.random(count))
    azimuth, rise = 2 * np.pi * rng.random(count), np.radians(-25 + 35 * rng.random(count))
    heading = np.stack([np.cos(azimuth) * np.cos(rise), np.sin(azimuth) * np.cos(rise), np.sin(rise)], -1)
    span = (0.15 + 0.55 * stem.crown_radius * (z / stem.crown_base) ** 2) * rng.random(count)
    return _limbs(stem, stem.axis(z), heading, span + 0.05, DEAD_BRANCH)


def _broadleaf(stem: Stem, detail: float, rng: np.random.Generator) -> Parts:
    """A stem that dissolves into limbs; clumps of leaves near the envelope, an ellipsoid wider below its middle."""
    length = stem.height - stem.crown_base
    fork = stem.crown_base + 0.15 * length
    forked = rng.random() < stem.species.forks and stem.height > 6
    limbs = 2 + int(3 * rng.random()) if forked else 0
    top = fork + 0.25 * length if forked else stem.height - 0.08 * length
    count = int(np.clip(detail * (20 + 0.9 * stem.crown_radius**2 * length), 16, 420))
    direction = _sphere(count, rng)
    depth = 0.35 + 0.6 * rng.random(count) ** 0.6
    middle = stem.axis(np.array(stem.crown_base + 0.5 * length))
    wide = stem.crown_radius * np.where(direction[:, 2] > 0, 1.0, 1.04)
    offset = direction * depth[:, None] * np.column_stack([wide, wide, np.full(count, 0.5 * length)])
    centre = middle + offset
    clump = np.clip((stem.crown_radius**2 * length / count) ** (1 / 3) * 1.15, 0.14, 1.2) * (
        0.65 + 0.7 * rng.random(count)
    )
    radii = clump[:, None] * (np.array([0.8, 0.7, 0.45]) + 0.5 * rng.random((count, 3)))
    outward = direction * [1, 1, 0.4] + [0, 0, 1e-3]
    kind = stem.species
    leaves = foliage(centre, outward, radii, stem.number, kind.extinction, LIVE_BRANCH, kind.reflectance)
    parts = [_trunk(stem, top, detail), leaves]
    ends, thick = _fork(stem, fork, limbs, length, rng)
    if limbs:
        origin = np.broadcast_to(stem.axis(np.array(fork)), ends.shape)
        parts.append(wood(origin, ends, thick, stem.number, STEM, BARK))
    parts.append(_twigs(stem, centre, ends, fork))
    if not forked and stem.height > 6:
        parts.append(_dead_branches(stem, 0.3 * detail, rng))
    return join(parts)


def _fork(
    stem: Stem, fork: float, limbs: int, length: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Upper ends (limbs, 3) of the limbs of a forked stem and their radii (limbs, 2)."""
    azimuth = 2 * np.pi * (np.arange(limbs) + 0.6 * rng.random(limbs)) / max(limbs, 1)
    out = stem.crown_radius * (0.3 + 0.25 * rng.random(limbs))
    rise = length * (0.5 + 0.22 * rng.random(limbs))
    ends = stem.axis(np.array(fork)) + np.column_stack([out * np.cos(azimuth), out * np.sin(azimuth), rise])
    # the cross sections of the limbs add up to that of the stem (da Vinci's rule)
    radius = float(stem.radius(np.array(fork))) / np.sqrt(max(limbs, 1))
    return ends, np.column_stack([np.full(limbs, radius), np.full(limbs, 0.3 * radius)])


def _twigs(stem: Stem, centre: np.ndarray, limb_ends: np.ndarray, fork: float) -> Parts:
    """A branch to each clump, from the stem or the nearest limb, rising at about 45 degrees."""
    from_foot = centre - stem.axis(np.array(fork))
    drop = 0.8 * np.hypot(from_foot[:, 0], from_foot[:, 1])
    z = np.clip(centre[:, 2] - stem.foot[2] - drop, 0.85 * stem.crown_base, 0.93 * stem.height)
    start = stem.axis(z)
    if len(limb_ends):
        origin = stem.axis(np.array(fork))
        share = np.clip((z - fork) / np.maximum(limb_ends[:, 2] - stem.foot[2] - fork, 0.1)[:, None], 0.1, 1).T
        along = origin + (limb_ends - origin) * share[..., None]
        near = np.linalg.norm(along - centre[:, None], axis=2).argmin(1)
        start = along[np.arange(len(centre)), near]
    span = centre - start
    length = np.linalg.norm(span, axis=1)
    return _limbs(stem, start, span / np.maximum(length, 1e-6)[:, None], length, LIVE_BRANCH)


def _snag(stem: Stem, detail: float, rng: np.random.Generator) -> Parts:
    """A dead stem, mostly broken off, with what is left of its branches."""
    top = stem.height * 0.999
    count = int(np.clip(detail * 0.8 * stem.height, 3, 60))
    z = 1.5 + max(stem.height - 1.8, 0.2) * rng.random(count)
    azimuth, rise = 2 * np.pi * rng.random(count), np.radians(-20 + 50 * rng.random(count))
    heading = np.stack([np.cos(azimuth) * np.cos(rise), np.sin(azimuth) * np.cos(rise), np.sin(rise)], -1)
    span = stem.crown_radius * rng.random(count) ** 1.5 * np.clip(1.2 - z / stem.height, 0.1, 1) + 0.1
    z = np.minimum(z, 0.97 * stem.height)
    return join([_trunk(stem, top, detail), _limbs(stem, stem.axis(z), heading, span, DEAD_BRANCH)])


def _sphere(count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions (count, 3) spread over the sphere, in a spiral with some disorder."""
    height = 1 - 2 * (np.arange(count) + rng.random(count)) / count
    azimuth = GOLDEN * np.arange(count) + 0.8 * rng.random(count)
    flat = np.sqrt(np.maximum(1 - height**2, 0))
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], -1)
