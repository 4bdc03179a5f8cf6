"""Where exactly a scan was taken at a place that was recognised: images from above laid on each other, then GICP."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from perception.errors import PerceptionError, missing_extra
from perception.points import PointCloud
from perception.scene_flow.ground import ground_of

CELL, SIDE = 1.0, 192  # metres, cells of an image
REACH = 60.0  # metres of a scan that are drawn
TURNS = 120
GUESSES = 4
STAGES = ((1.0, 5.0), (0.5, 2.0), (0.3, 0.8))  # metres: size of the thinning cells, furthest correspondence
NEAR, OVERLAP, FEWEST = 0.5, 0.35, 100


@dataclass(frozen=True, eq=False)
class Registration:
    """``motion`` (4, 4) float64: it takes points of the query's frame to that of the place's scan.

    ``overlap``: the share of the query's points above the ground that then lie near one of the place's.
    """

    motion: np.ndarray
    overlap: float

    @property
    def turn(self) -> float:
        """Radians about z."""
        return math.atan2(self.motion[1, 0], self.motion[0, 0])


def register(query: PointCloud, place: PointCloud) -> Registration:
    """Both scans in the frames of their sensors, z up, up to some 30 m apart, turned against each other by any angle.

    Of the first guesses that one counts after whose refinement most of what stands in the query is near something of
    the place. Raises PerceptionError where that is less than ``OVERLAP`` of it: another place, or too far.
    """
    first, second = _matched_points(query), _matched_points(place)
    found = [_refined(first, second, guess) for guess in first_guesses(query, place)]
    best = max(found, key=lambda registration: registration.overlap)
    if best.overlap < OVERLAP:
        raise PerceptionError(
            f"the scans cannot be laid on each other: of what stands in the query only {best.overlap:.0%} is near "
            "something of the place",
            f"{OVERLAP:.0%} or more",
            "take another of the places found",
        )
    return best


def first_guesses(query: PointCloud, place: PointCloud) -> list[np.ndarray]:
    """Motions (4, 4) about z and along x y under which what stands above the ground falls together best, best first.

    Images of occupied cells from above are correlated at every move (by Fourier transforms) for each of ``TURNS``.
    """
    first, second = _above_ground(query), _above_ground(place)
    fixed = np.fft.rfft2(_image(second))
    scores, moves = [], []
    for number in range(TURNS):
        turn = number * math.tau / TURNS
        cos, sin = math.cos(turn), math.sin(turn)
        turned = first @ np.array([[cos, sin], [-sin, cos]])
        agreement = np.fft.irfft2(fixed * np.conj(np.fft.rfft2(_image(turned))), (SIDE, SIDE))
        row, column = np.unravel_index(int(agreement.argmax()), agreement.shape)
        shift = [(int(cell) + SIDE // 2) % SIDE - SIDE // 2 for cell in (column, row)]
        scores.append(float(agreement.max()))
        moves.append(about_z(turn, shift[0] * CELL, shift[1] * CELL))
    return [moves[number] for number in _apart(np.array(scores))]


def about_z(angle: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """A turn and a move in the plane (4, 4)."""
    motion = np.eye(4)
    cos, sin = math.cos(angle), math.sin(angle)
    motion[:2, :2], motion[:2, 3] = [[cos, -sin], [sin, cos]], [x, y]
    return motion


def _apart(scores: np.ndarray) -> list[int]:
    """The best turns of which none is a neighbour of a better one."""
    chosen: list[int] = []
    for number in np.argsort(-scores, kind="stable"):
        beside = [min((number - other) % TURNS, (other - number) % TURNS) for other in chosen]
        if all(steps > TURNS // 24 for steps in beside):
            chosen.append(int(number))
        if len(chosen) == GUESSES:
            break
    return chosen


def _above_ground(cloud: PointCloud) -> np.ndarray:
    """x y of what stands above the ground, (N, 2)."""
    xyz = cloud.xyz[~ground_of(cloud)].astype(np.float64)
    return xyz[np.hypot(xyz[:, 0], xyz[:, 1]) < REACH, :2]


def _image(places: np.ndarray) -> np.ndarray:
    """Occupied cells, smoothed by what is in the cells beside them; more points count little more."""
    cells = np.floor(places / CELL).astype(np.int64) + SIDE // 2
    inside = ((cells >= 0) & (cells < SIDE)).all(1)
    counts = np.bincount(cells[inside, 1] * SIDE + cells[inside, 0], minlength=SIDE * SIDE).reshape(SIDE, SIDE)
    image = np.log1p(counts)
    image = image + 0.5 * sum(np.roll(image, step, axis) for axis in (0, 1) for step in (-1, 1))
    return np.asarray(image - image.mean())


def _matched_points(cloud: PointCloud) -> tuple[np.ndarray, np.ndarray]:
    """What stands above the ground (N, 3), and the ground thinned: a scan's rings on it would match each other."""
    ground = ground_of(cloud)
    xyz = cloud.xyz.astype(np.float64)
    standing, floor = xyz[~ground], xyz[ground]
    if len(standing) < FEWEST:
        raise PerceptionError(
            f"{len(standing)} points above the ground", f"{FEWEST} or more to lay scans on each other"
        )
    _, kept = np.unique(np.floor(floor[:, :2] / 3.0), axis=0, return_index=True)
    return standing, floor[kept]


def _refined(
    source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray], guess: np.ndarray
) -> Registration:
    """Generalised ICP, coarse then fine, from a first guess."""
    try:
        import small_gicp
    except ImportError:
        raise missing_extra("small_gicp", "places") from None
    motion = guess
    for cell, furthest in STAGES:
        fixed, tree = small_gicp.preprocess_points(np.concatenate(target), downsampling_resolution=cell)
        moved, _ = small_gicp.preprocess_points(np.concatenate(source), downsampling_resolution=cell)
        found = small_gicp.align(fixed, moved, tree, motion, max_correspondence_distance=furthest, max_iterations=30)
        motion = np.asarray(found.T_target_source)
    standing = source[0][:: max(len(source[0]) // 5000, 1)]
    placed = standing @ motion[:3, :3].T + motion[:3, 3]
    near = np.isfinite(cKDTree(target[0]).query(placed, distance_upper_bound=NEAR)[0])
    return Registration(motion, float(near.mean()) if np.isfinite(motion).all() else 0.0)
