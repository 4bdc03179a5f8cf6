"""nuScenes in its published layout: keyframes with the sweeps before them, boxes with velocity in the lidar frame.

Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, and the development kit's schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.nuscenes.cache import load_index
from perception.datasets.nuscenes.geometry import NuscenesCalibration, global_to_lidar, inverse_pose
from perception.datasets.nuscenes.records import BICYCLE_RACK, CLASS_OF, CLASSES, NuscenesBoxes, NuscenesTruth
from perception.datasets.nuscenes.splits import scenes_of, version_of
from perception.datasets.nuscenes.sweeps import Sweep, merge_sweeps
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError, nearest

Fill = Literal["repeat", "fewer"]


class Nuscenes:
    """The keyframes of a split, in the order of the tables; samples are called ``scene-0061/007``.

    ``version`` is the folder of tables, by default the one that has the split; ``scenes`` restricts the split. A cloud
    holds ``sweeps`` recordings. Where a scene has not begun long enough before, ``missing`` "repeat" lists the oldest
    again, so that clouds are as dense as elsewhere and as OpenPCDet trains on them; "fewer" leaves them out, as the
    development kit and mmdet3d do. ``near`` as in ``merge_sweeps``. Labels with fewer than ``minimum_lidar_points`` by
    the tables' own count are left out of samples, never of ``truth``. ``balanced`` visits keyframes with rare classes
    more often (``balanced_rows``), drawn by ``seed``. ``cache`` names an .npz file to keep the parsed tables in.

    Objects of the ten classes of the benchmark have these names, others that of their category; velocity is NaN where
    unknown. Attributes: ``category``, ``attribute``, ``track``, ``lidar_points``, ``radar_points``.
    Raises PerceptionError when folder, table, scene or token is missing.
    """

    def __init__(
        self,
        root: str | Path,
        version: str | None = None,
        split: str = "train",
        sweeps: int = 10,
        missing: Fill = "repeat",
        near: float = 1.0,
        minimum_lidar_points: int = 1,
        balanced: bool = False,
        seed: int = 0,
        scenes: Sequence[str] | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if sweeps < 1 or near < 0:
            raise PerceptionError(f"sweeps = {sweeps}, near = {near}", "one sweep or more, near from 0")
        self.root, self.split = Path(root), split
        self.sweeps, self.missing, self.near, self.minimum_lidar_points = sweeps, missing, near, minimum_lidar_points
        folder = _version_folder(self.root, version or version_of(split))
        self.index = load_index(folder, None if cache is None else Path(cache))
        self.rows = self._rows(scenes_of(split, folder, self.index.scene_name.tolist()), scenes)
        if balanced:
            self.rows = balanced_rows(self.rows, self._classes_in(self.rows), seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = int(self.rows[index])
        calibration = self.calibration(index)
        objects = self._objects(row, calibration) if self.labelled else None
        stamp = 1e-6 * float(self.index.sweep_time[self.index.sample_sweep[row]])
        cloud = merge_sweeps(self._sweeps_of(row), self.near, stamp)
        return Sample(self._identifier(row), cloud, objects, calibration)

    @property
    def labelled(self) -> bool:
        """The tables of the test split have no boxes."""
        return bool(len(self.index.box_size))

    @property
    def identifiers(self) -> list[str]:
        return [self._identifier(int(row)) for row in self.rows]

    def calibration(self, index: int) -> NuscenesCalibration:
        """Token and poses of a keyframe."""
        row = int(self.rows[index])
        sweep = int(self.index.sample_sweep[row])
        token = self.index.sample_token[row].decode()
        return NuscenesCalibration(token, self.index.lidar_to_ego(sweep), self.index.ego_to_global(sweep))

    def truth(self) -> NuscenesTruth:
        """All labels as the benchmark's metric takes them, boxes without any point and bicycle racks included."""
        tables = self.index
        counts = tables.first_box[self.rows + 1] - tables.first_box[self.rows]
        frame = np.repeat(np.arange(len(self.rows)), counts)
        box = np.concatenate([np.arange(tables.first_box[r], tables.first_box[r + 1]) for r in self.rows])
        category = tables.category_name[tables.box_category[box]] if len(box) else np.zeros(0, str)
        attribute = np.array([*tables.attribute_name, ""], str)[tables.box_attribute[box]]
        names = np.array([CLASS_OF.get(name, "") for name in category.tolist()], str)
        boxes = NuscenesBoxes(
            frame,
            names,
            tables.box_translation[box],
            tables.box_size[box],
            tables.box_rotation[box],
            tables.box_velocity[box, :2],
            attribute,
            np.full(len(box), np.nan),
            tables.box_lidar_points[box] + tables.box_radar_points[box],
        )
        ego = tables.sweep_pose[tables.sample_sweep[self.rows], :3]
        tokens = tuple(token.decode() for token in tables.sample_token[self.rows])
        return NuscenesTruth(tokens, ego, boxes.select(names != ""), boxes.select(category == BICYCLE_RACK))

    def _identifier(self, row: int) -> str:
        scene = self.index.scene_name[self.index.sample_scene[row]]
        return f"{scene}/{self.index.sample_number[row]:03d}"

    def _objects(self, row: int, calibration: NuscenesCalibration) -> Objects:
        tables, rows = self.index, self.index.boxes_of(row)
        boxes, velocity = global_to_lidar(
            tables.box_translation[rows],
            tables.box_size[rows],
            tables.box_rotation[rows],
            tables.box_velocity[rows],
            calibration.lidar_to_global,
        )
        category = tables.category_name[tables.box_category[rows]]
        objects = Objects(
            Boxes3D(torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(velocity.astype(np.float32))),
            np.array([CLASS_OF.get(name, name) for name in category.tolist()], str),
            {
                "category": category,
                "attribute": np.array([*tables.attribute_name, ""], str)[tables.box_attribute[rows]],
                "track": tables.instance_token[tables.box_instance[rows]].astype(str),
                "lidar_points": tables.box_lidar_points[rows],
                "radar_points": tables.box_radar_points[rows],
            },
        )
        return objects.select(tables.box_lidar_points[rows] >= self.minimum_lidar_points)

    def _sweeps_of(self, row: int) -> list[Sweep]:
        tables, key = self.index, int(self.index.sample_sweep[row])
        found = [Sweep(self.root / str(tables.sweep_file[key]))]
        to_lidar = inverse_pose(tables.lidar_to_ego(key)) @ inverse_pose(tables.ego_to_global(key))
        sweep = key
        while len(found) < self.sweeps and tables.sweep_previous[sweep] >= 0:
            sweep = int(tables.sweep_previous[sweep])
            lag = 1e-6 * float(tables.sweep_time[key] - tables.sweep_time[sweep])
            pose = to_lidar @ tables.ego_to_global(sweep) @ tables.lidar_to_ego(sweep)
            found.append(Sweep(self.root / str(tables.sweep_file[sweep]), pose, lag))
        return fill_sweeps(found, self.sweeps, self.missing)

    def _rows(self, split: list[str], wanted: Sequence[str] | None) -> np.ndarray:
        strange = sorted(set(wanted or ()) - set(split))
        if strange:
            raise PerceptionError(
                f"scene {strange[0]!r} is not in the split {self.split!r}",
                f"some of its {len(split)} scenes",
                nearest(strange[0], split) if len(split) <= 1000 else "correct scenes",
            )
        chosen = np.isin(self.index.scene_name, wanted if wanted is not None else split)
        rows = np.flatnonzero(chosen[self.index.sample_scene])
        if not len(rows):
            raise PerceptionError(
                f"none of the {len(self.index.scene_name)} scenes of the tables is in the split {self.split!r}",
                "tables and a split that belong together (mini_train, mini_val: v1.0-mini)",
                "correct version or split",
            )
        return rows

    def _classes_in(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), 10) bool: which classes each keyframe has, counting boxes that hold any point."""
        tables = self.index
        seen = np.flatnonzero(tables.box_lidar_points + tables.box_radar_points > 0)
        number = np.array([CLASSES.index(CLASS_OF[n]) if n in CLASS_OF else -1 for n in tables.category_name.tolist()])
        sample = np.searchsorted(tables.first_box, seen, side="right") - 1
        kind = number[tables.box_category[seen]]
        present = np.zeros((len(tables.sample_token), len(CLASSES)), bool)
        present[sample[kind >= 0], kind[kind >= 0]] = True
        return present[rows]


def fill_sweeps(found: list[Sweep], wanted: int, missing: Fill) -> list[Sweep]:
    """The sweeps there are, the last one repeated up to ``wanted`` if ``missing`` says so."""
    return [*found, *[found[-1]] * (wanted - len(found))] if missing == "repeat" else found


def balanced_rows(rows: np.ndarray, present: np.ndarray, seed: int) -> np.ndarray:
    """Keyframes drawn, with repetition, so that each class is the reason for equally many of them.

    ``present`` (N, C) bool tells the classes in each of ``rows`` (N,). Zhu et al., "Class-balanced Grouping and
    Sampling for Point Cloud 3D Object Detection", arXiv 1908.09492, section 3.2, in OpenPCDet's form.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    share = int(present.sum()) // present.shape[1]
    drawn = [generator.choice(rows[column], share) for column in present.T if column.any()]
    if not drawn:
        raise PerceptionError("no labelled objects to balance by", "a labelled split", "leave out balanced")
    return np.concatenate(drawn)


def _version_folder(root: Path, version: str) -> Path:
    folder = root / version
    if not folder.is_dir():
        there = sorted(path.name for path in root.glob("v1.0*") if path.is_dir()) if root.is_dir() else []
        raise PerceptionError(
            f"{root} has no folder {version}" if root.is_dir() else f"no folder {root}",
            "the root of nuScenes: samples/, sweeps/ and a folder of tables such as v1.0-trainval",
            f"choose one of the versions {', '.join(there)}" if there else "unpack the archive of tables there",
        )
    return folder
