"""`perception detect` on a map: a LAS or LAZ file wider than a scan."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from perception.boxes import Boxes3D
from perception.detect_map import MARGIN, MapDetections, detect_map, label_points, tile_size
from perception.errors import PerceptionError
from perception.io.detections import map_detections_to_plain, write_json
from perception.io.las_extend import Dimension, extend_las
from perception.io.las_header import LasHeader, read_las_header
from perception.io.las_tiles import LasTiles
from perception.models.detector import Detector
from perception.points import PointCloud
from perception.results import Detections
from perception.view.birds_eye import birds_eye

PICTURED_POINTS = 300_000
Step = Callable[[int, int], None]


def map_header(path: Path, model: Detector) -> LasHeader | None:
    """The header of a LAS or LAZ file whose points reach farther than the model's range, None for any other file."""
    if path.suffix.lower() not in (".las", ".laz") or not path.is_file():
        return None
    header = read_las_header(path)
    low, high = np.array(model.config.point_range[:2]), np.array(model.config.point_range[3:5])
    fits = (header.minimum[:2] >= low - 1).all() and (header.maximum[:2] <= high + 1).all()
    return None if fits else header


@dataclass(frozen=True)
class MapJob:
    """What is the same for all maps. ``labels``: also write the cloud with a detection and a class for each point."""

    model: Detector
    name: str
    thinning: float
    score: float
    labels: bool
    picture: bool
    console: Console

    def run(self, header: LasHeader, target: Path) -> MapDetections:
        """Detect in one map and write ``target`` with .json, and what else is wanted. A stopped run is continued."""
        work = target.with_name(target.name + ".tiles")
        fields = [name for name in self.model.config.point_fields if name in header.fields]
        with self._steps() as step:
            size = tile_size(self.model)
            tiles = LasTiles([header.path], work, size, MARGIN, fields, step("sorting points into tiles"))
            identity = _digest(self.model)
            found = detect_map(self.model, tiles, self.thinning, self.score, identity, step("detecting"))
            facts = {"source": str(header.path), "model": self.name, "crs": header.crs, "points": header.points}
            write_json(target.with_name(target.name + ".json"), map_detections_to_plain(found, facts))
            if self.picture:
                _draw(tiles, found, target.with_name(target.name + ".png"), header.path.name)
            if self.labels:
                self._write_labels(tiles, found, header, target, step)
        shutil.rmtree(work)
        return found

    def _write_labels(
        self, tiles: LasTiles, found: MapDetections, header: LasHeader, target: Path, step: Callable[[str], Step]
    ) -> None:
        numbers, kinds = label_points(tiles, found, tiles.folder, step("labelling points"))
        names = ", ".join(f"{i} {name}" for i, name in enumerate(found.classes, start=1))
        dimensions = {
            "detection": Dimension(numbers, "row in the JSON, from 1"),
            "detection_class": Dimension(kinds, names),
        }
        path = target.with_name(target.name + header.path.suffix.lower())
        if path.resolve() == header.path.resolve():
            raise PerceptionError(f"labels would replace the input {path}", "another --out folder")
        extend_las(header, path, dimensions, step("writing the labelled cloud"))

    @contextmanager
    def _steps(self) -> Iterator[Callable[[str], Step]]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:

            def step(text: str) -> Step:
                task = progress.add_task(text, total=None)
                return lambda done, total: progress.update(task, completed=done, total=total)

            yield step


def _digest(model: Detector) -> str:
    """Tells one model's kept results from another's."""
    found = hashlib.sha256(repr(model.config).encode())
    for value in model.state_dict().values():
        found.update(value.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def _draw(tiles: LasTiles, found: MapDetections, path: Path, title: str) -> None:
    """A thinned view from above."""
    every = max(tiles.points // PICTURED_POINTS, 1)
    parts = [part.cloud.world()[part.core][::every] for part in tiles]
    world = np.concatenate(parts) if parts else np.zeros((0, 3))
    centre = np.round(world.mean(0)) if len(world) else np.zeros(3)
    boxes = Boxes3D(torch.from_numpy((found.boxes - [*centre, 0, 0, 0, 0]).astype(np.float32)))
    shown = Detections(boxes, torch.from_numpy(found.scores), torch.from_numpy(found.labels), found.classes)
    cloud = PointCloud((world - centre).astype(np.float32), origin=centre, frame="map")
    birds_eye(cloud, shown, path=path, title=title)
