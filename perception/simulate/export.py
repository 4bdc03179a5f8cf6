"""Generated worlds as files: streets in KITTI's layout, forests as LAS, people as arrays; whole, resumable folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.sample import Sample
from perception.errors import PerceptionError, nearest
from perception.io.files import write_atomically
from perception.io.writers import write_points
from perception.simulate.forest.dataset import tree_objects
from perception.simulate.forest.scanners import DENSITIES, scanner_named
from perception.simulate.forest.scene import check_plot, forest
from perception.simulate.forest.stand import draw_plan
from perception.simulate.kitti_export import write_kitti_frame
from perception.simulate.people.ranges import ranges_named
from perception.simulate.people.scene import people_scene
from perception.simulate.sensor import Lidar, sensor_named
from perception.simulate.street.scene import street

SETTINGS = "simulation.json"
FORMATS = {"streets": ("kitti",), "forests": ("laz", "las", "npz", "ply"), "people": ("npz",)}
"""Formats of each kind, the usual one first."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Order:
    """What to make: ``count`` worlds of a ``kind``, with the seeds from ``seed``.

    ``sensor`` names a lidar (streets, people) or a scanner (forests), None for the usual one. For forests ``side``
    metres, ``density`` points a square metre, ``stems`` per hectare, ``stand`` its kind; for people ``split``; for
    streets ``articulated`` people. ``beams`` gives a lidar that many, evenly over the angles of its own.
    """

    kind: str
    seed: int
    count: int
    format: str
    sensor: str
    side: float = 30.0
    density: float | None = None
    stems: float | None = None
    stand: str | None = None
    split: str = "train"
    articulated: bool = False
    beams: int | None = None

    @classmethod
    def of(cls, kind: str, seed: int, count: int, format: str | None, sensor: str | None, **options: Any) -> Order:
        """An order with what is usual for what is not given, checked before any file is written."""
        if kind not in FORMATS:
            raise PerceptionError(f"no kind of world is called {kind!r}", ", ".join(FORMATS), nearest(kind, FORMATS))
        format = FORMATS[kind][0] if format is None else format
        if format not in FORMATS[kind]:
            raise PerceptionError(f"the format {format!r} for {kind}", f"one of {', '.join(FORMATS[kind])}")
        if seed < 0 or count < 1:
            raise PerceptionError(f"seed {seed} and count {count}", "a seed from 0 and at least one world")
        usual = {"streets": "hdl64", "forests": "airborne", "people": "waymo_top"}
        order = cls(kind, seed, count, format, usual[kind] if sensor is None else sensor, **options)
        if kind == "forests":
            scanner_named(order.sensor)
            check_plot(seed, order.side, DENSITIES[order.sensor] if order.density is None else order.density)
            draw_plan(np.random.Generator(np.random.PCG64(0)), order.stand, order.stems)
        else:
            order.lidar()
        ranges_named(order.split)
        return order

    def lidar(self) -> Lidar:
        """The lidar of streets and people."""
        lidar = sensor_named(self.sensor)
        if self.beams is None:
            return lidar
        if self.beams < 1:
            raise PerceptionError(f"a lidar of {self.beams} beams", "at least one")
        high, low = lidar.elevations[0], lidar.elevations[-1]
        return replace(lidar, elevations=tuple(np.linspace(high, low, self.beams).tolist()))


def simulate(order: Order, folder: str | Path, progress: Progress | None = None) -> int:
    """Write the worlds of an order to ``folder`` and give how many were missing there.

    A world that is complete is not made again, so an interrupted run goes on where it was. Raises PerceptionError for
    a folder that holds anything else or worlds of another order, and where it cannot be written.
    """
    folder = Path(folder)
    _claim(order, folder)
    made = 0
    for number in range(order.count):
        name = f"{number:06d}"
        if not (folder / _last_file(order, name)).is_file():
            WRITERS[order.kind](order, order.seed + number, name, folder)
            made += 1
        if progress is not None:
            progress(number + 1, order.count)
    if order.kind == "streets":
        with write_atomically(folder / "ImageSets" / "train.txt", "w") as handle:
            handle.write("".join(f"{number:06d}\n" for number in range(order.count)))
    return made


def _claim(order: Order, folder: Path) -> None:
    """Make the folder this order's, or check that it is; more worlds of the same settings may be asked for."""
    record = folder / SETTINGS
    wanted = {key: value for key, value in asdict(order).items() if key != "count"}
    if record.is_file():
        try:
            found = json.loads(record.read_text("utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found != wanted:
            different = sorted(key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key])
            raise PerceptionError(
                f"{folder} holds worlds of other settings ({', '.join(different) or 'unknown ones'})",
                "an empty folder, or one of the same settings",
                "choose another folder, or repeat the settings in " + SETTINGS,
            )
        return
    try:
        if folder.exists() and (not folder.is_dir() or any(not p.is_dir() for p in folder.rglob("*"))):
            raise PerceptionError(f"{folder} is not an empty folder", "a new or empty folder", "choose another one")
        for part in FOLDERS[order.kind]:
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PerceptionError(f"{folder} cannot be made: {error.strerror or error}", "a writable place") from None
    with write_atomically(record, "w") as handle:
        handle.write(json.dumps(wanted, indent=1) + "\n")


def _last_file(order: Order, name: str) -> str:
    """The file of a world that is written last: where it is, the others are too."""
    return f"training/label_2/{name}.txt" if order.kind == "streets" else f"{name}.{order.format}"


def _write_street(order: Order, seed: int, name: str, folder: Path) -> None:
    write_kitti_frame(street(seed, order.lidar(), articulated=order.articulated), name, folder / "training")


def _write_forest(order: Order, seed: int, name: str, folder: Path) -> None:
    """The table of trees as JSON, then the points."""
    scan = forest(seed, order.sensor, side=order.side, density=order.density, stems=order.stems, kind=order.stand)
    trees = tree_objects(scan)
    rows = [
        {"species": str(trees.names[i]), **{key: _plain(values[i]) for key, values in trees.attributes.items()}}
        for i in range(len(trees))
    ]
    plan = {f.name: _plain(np.asarray(getattr(scan.plan, f.name))[()]) for f in fields(scan.plan)}
    _write_json(folder / f"{name}.json", {"seed": seed, "scanner": order.sensor, "stand": plan, "trees": rows})
    write_points(folder / f"{name}.{order.format}", scan.cloud)


def _write_people(order: Order, seed: int, name: str, folder: Path) -> None:
    """Boxes and joints as JSON, then the points."""
    sample: Sample = people_scene(seed, order.lidar(), ranges_named(order.split))
    objects = sample.objects
    assert objects is not None
    boxes = objects.boxes.values.numpy()
    rows = [
        {
            "name": str(objects.names[i]),
            "box": _plain(boxes[i]),
            **{key: _plain(values[i]) for key, values in objects.attributes.items()},
        }
        for i in range(len(objects))
    ]
    _write_json(folder / f"{name}.json", {"seed": seed, "sensor": order.sensor, "split": order.split, "people": rows})
    write_points(folder / f"{name}.{order.format}", sample.cloud)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with write_atomically(path, "w") as handle:
        handle.write(json.dumps(content, indent=1) + "\n")


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of JSON, to a tenth of a millimetre."""
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, 4) if isinstance(value, float) else value


FOLDERS = {
    "streets": ("training/velodyne", "training/label_2", "training/calib", "ImageSets"),
    "forests": ("",),
    "people": ("",),
}
WRITERS: dict[str, Callable[[Order, int, str, Path], None]] = {
    "streets": _write_street,
    "forests": _write_forest,
    "people": _write_people,
}
