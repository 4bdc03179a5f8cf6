"""Laser scanners over and in a forest: where their rays start, where they go, and what their beams are like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from perception.errors import PerceptionError, nearest
from perception.simulate.forest.terrain import Terrain


@dataclass(frozen=True)
class Beam:
    """``width`` metres where it leaves and ``divergence`` metres a metre; foliage takes a share between ``taken`` of
    its energy; a return below ``weakest`` (1: all of a white wall) is lost, as is one less than ``separation`` metres
    behind another; ``most`` returns a pulse; ``noise`` one sigma of the range, ``near`` and ``far`` ranges, m."""

    width: float
    divergence: float
    taken: tuple[float, float]
    weakest: float
    separation: float
    most: int
    noise: float
    near: float
    far: float


@dataclass(frozen=True, eq=False)
class ForestRays:
    """``origins``, unit ``directions`` (R, 3) float32, ``time`` (R,) seconds, ``source`` (R,) line or station."""

    origins: np.ndarray
    directions: np.ndarray
    time: np.ndarray
    source: np.ndarray


class Scanner(Protocol):
    """What casting asks of a scanner."""

    @property
    def beam(self) -> Beam: ...

    @property
    def drift(self) -> float:
        """Amplitude in metres of the slow error of its own position."""
        ...

    def rays(self, count: int, half: float, ground: Terrain, rng: np.random.Generator) -> ForestRays:
        """About ``count`` rays into the square within ``half`` metres of the origin, in order of time."""
        ...


@dataclass(frozen=True)
class AirborneScanner:
    """Parallel flight lines ``spacing`` metres apart at ``altitude``; pulses on scan lines across the flight."""

    altitude: float = 700.0
    spacing: float = 180.0
    drift: float = 0.0
    crossed: bool = False
    # 0.25 to 0.5 mrad and 4 to 7 returns are usual in data sheets of airborne scanners
    beam: Beam = field(default=Beam(0.01, 0.00035, (0.3, 0.9), 0.03, 1.0, 5, 0.02, 5.0, 3000.0))

    def rays(self, count: int, half: float, ground: Terrain, rng: np.random.Generator) -> ForestRays:
        """Pulses are even over the ground; each is fired from the nearest line or, in the overlap, the next one."""
        across = int(np.ceil(np.sqrt(count)))
        u, v = np.meshgrid(np.arange(across), np.arange(int(np.ceil(count / across))), indexing="ij")
        u, v = u.T.ravel()[:count], v.T.ravel()[:count]
        shift, jitter = rng.random(2), rng.random((2, len(u)))
        turn = np.full(len(u), 2 * np.pi * rng.random())
        step = 2 * half / across
        target = np.stack([(u + 0.5 * (v % 2) + 0.6 * jitter[0]) * step, (v + 0.6 * jitter[1]) * step], -1)
        target = target % (2 * half) - half
        if self.crossed:
            turn = turn + np.pi / 2 * (rng.random(len(u)) < 0.5)
        along = np.stack([np.cos(turn), np.sin(turn)], -1)
        side = np.stack([-along[:, 1], along[:, 0]], -1)
        cross = (target * side).sum(1) / self.spacing - shift[0]
        line = np.round(cross)
        line = np.where(rng.random(len(u)) < 0.3, line + np.sign(cross - line), line)
        forward = (target * along).sum(1)
        ahead = 0.02 * self.altitude * (rng.random(len(u)) - 0.5)
        place = along * (forward + ahead)[:, None] + side * ((line + shift[0]) * self.spacing)[:, None]
        origin = np.column_stack([place, np.full(len(u), self.altitude)])
        aim = np.column_stack([target, ground.height(target[:, 0], target[:, 1])])
        time = 100.0 * (line - line.min(initial=0)) + (forward + 2 * half) / 60.0
        return _ordered(origin, aim - origin, time, line - line.min(initial=0))


@dataclass(frozen=True)
class WalkingScanner:
    """A hand-held or backpack scanner of many beams on a winding path, ``aisle`` metres between its bends."""

    aisle: float = 12.0
    height: float = 1.7
    speed: float = 1.0
    drift: float = 0.06
    elevation: tuple[float, float] = (-40.0, 75.0)
    beams: int = 64
    beam: Beam = field(default=Beam(0.01, 0.003, (0.6, 1.0), 0.08, 0.3, 2, 0.015, 0.6, 70.0))

    def rays(self, count: int, half: float, ground: Terrain, rng: np.random.Generator) -> ForestRays:
        path = self._path(half, rng)
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        length = np.concatenate([[0], np.cumsum(steps)])
        time = length[-1] / self.speed * (np.arange(count) + 0.5) / max(count, 1)
        way = time * self.speed
        x, y = np.interp(way, length, path[:, 0]), np.interp(way, length, path[:, 1])
        bob = 0.03 * np.sin(2 * np.pi * 1.8 * time)
        origin = np.column_stack([x, y, ground.height(x, y) + self.height + bob])
        low, high = np.radians(self.elevation)
        elevation = low + (high - low) * ((np.arange(count) * 29) % self.beams + 0.5) / self.beams
        azimuth = 2 * np.pi * (10.0 * time) + 2 * np.pi * rng.random(count)
        heading = np.stack(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1
        )
        return _ordered(origin, _rocked(heading, time, rng), time, np.zeros(count))

    def _path(self, half: float, rng: np.random.Generator) -> np.ndarray:
        """Lanes to and fro, bent a little as one walks round trees."""
        lanes = max(1, round(2 * half / self.aisle))
        nodes = []
        for lane in range(lanes):
            y = -half + (lane + 0.5) * 2 * half / lanes
            x = np.linspace(-half, half, 12) * (1 if lane % 2 == 0 else -1)
            nodes.append(np.column_stack([x, y + 0.25 * self.aisle * (rng.random(12) - 0.5)]))
        return np.concatenate(nodes)


@dataclass(frozen=True)
class TerrestrialScanner:
    """A tripod at ``stations`` places, each a full turn with even steps from ``lowest`` degrees to the zenith."""

    stations: int = 5
    height: float = 1.6
    lowest: float = -58.0
    drift: float = 0.0
    beam: Beam = field(default=Beam(0.006, 0.0003, (0.85, 1.0), 0.06, 0.4, 2, 0.003, 0.5, 120.0))

    def __post_init__(self) -> None:
        if self.stations < 1 or not -90 < self.lowest < 80:
            raise PerceptionError(
                f"{self.stations} stations from {self.lowest} degrees", "at least 1, and more than -90"
            )

    def rays(self, count: int, half: float, ground: Terrain, rng: np.random.Generator) -> ForestRays:
        each = count / self.stations
        rows = max(2, round(np.sqrt(each * (90 - self.lowest) / 360)))
        columns = max(2, round(each / rows))
        elevation = np.radians(self.lowest + (90 - self.lowest) * (np.arange(rows) + 0.5) / rows)
        origins, headings, sources = [], [], []
        for station, place in enumerate(self._places(half, rng)):
            azimuth = 2 * np.pi * (np.arange(columns) + rng.random()) / columns
            e, a = (grid.T.ravel() for grid in np.meshgrid(elevation, azimuth, indexing="ij"))
            headings.append(np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], -1))
            top = float(ground.height(place[0], place[1])) + self.height
            origins.append(np.broadcast_to([*place, top], headings[-1].shape))
            sources.append(np.full(len(e), station))
        source = np.concatenate(sources)
        return _ordered(np.concatenate(origins), np.concatenate(headings), np.arange(len(source)) * 1e-5, source)

    def _places(self, half: float, rng: np.random.Generator) -> np.ndarray:
        """The middle and a ring about it, or one corner after the other."""
        turn = 2 * np.pi * (np.arange(self.stations - 1) + rng.random()) / max(self.stations - 1, 1)
        ring = 0.75 * half * np.stack([np.cos(turn), np.sin(turn)], -1)
        return np.concatenate([np.zeros((1, 2)), ring]) + 0.6 * (rng.random((self.stations, 2)) - 0.5)


DRONE = AirborneScanner(
    altitude=80.0, spacing=35.0, crossed=True, beam=Beam(0.01, 0.0008, (0.3, 0.95), 0.04, 0.5, 5, 0.015, 3.0, 400.0)
)
SCANNERS: dict[str, Scanner] = {
    "airborne": AirborneScanner(),
    "drone": DRONE,
    "mobile": WalkingScanner(),
    "terrestrial": TerrestrialScanner(),
}
DENSITIES = {"airborne": 20.0, "drone": 400.0, "mobile": 1000.0, "terrestrial": 3000.0}
"""Points a square metre where none are asked for."""


def scanner_named(name: str) -> Scanner:
    """The scanner of a name, or an error with the nearest one."""
    if name not in SCANNERS:
        raise PerceptionError(f"no scanner is called {name!r}", "a scanner for forests", nearest(name, SCANNERS))
    return SCANNERS[name]


def _rocked(heading: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions as the carrier's body sways by some degrees and turns slowly."""
    phase = 2 * np.pi * rng.random(3)
    roll, pitch = (np.radians(6) * np.sin(2 * np.pi * rate * time + p) for rate, p in zip((0.9, 0.37), phase))
    x, y, z = heading.T
    y, z = y * np.cos(roll) - z * np.sin(roll), y * np.sin(roll) + z * np.cos(roll)
    x, z = x * np.cos(pitch) + z * np.sin(pitch), z * np.cos(pitch) - x * np.sin(pitch)
    return np.stack([x, y, z], -1)


def _ordered(origin: np.ndarray, direction: np.ndarray, time: np.ndarray, source: np.ndarray) -> ForestRays:
    order = np.argsort(time, kind="stable")
    unit = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    return ForestRays(
        origin[order].astype(np.float32), unit[order].astype(np.float32), time[order], source[order].astype(np.uint16)
    )
