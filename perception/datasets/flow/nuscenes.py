"""Scene flow of nuScenes: a keyframe and the sweep 0.1 s after it, whose boxes lie between two keyframes'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.flow.labels import DILATION, box_labels
from perception.datasets.flow.pairs import FlowSample
from perception.datasets.nuscenes.dataset import Nuscenes
from perception.datasets.nuscenes.geometry import global_to_lidar, inverse_pose
from perception.datasets.nuscenes.records import CLASS_OF
from perception.datasets.nuscenes.sweeps import Sweep, merge_sweeps
from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.points import PointCloud
from perception.scan_pair import ScanPair
from perception.scene_flow.ground import with_estimated_ground


class NuscenesFlow:
    """Keyframes that have a sweep ``gap`` seconds later and a keyframe after that, called ``scene-0061/007``.

    Boxes are annotated at keyframes (2 Hz); at the second scan they are interpolated between those before and after,
    places and headings in proportion to time, as the development kit does. Objects that the later keyframe lacks are
    not valid. Points within ``near`` metres of the sensor along x and y are left out: they are the vehicle's. The
    ground is estimated.
    """

    def __init__(
        self,
        root: str | Path,
        version: str | None = None,
        split: str = "train",
        gap: float = 0.1,
        near: float = 1.0,
        dilation: float = DILATION,
        scenes: Sequence[str] | None = None,
        cache: str | Path | None = None,
    ) -> None:
        if gap <= 0:
            raise PerceptionError(f"gap = {gap}", "seconds above 0, for example 0.1")
        self.keyframes = Nuscenes(root, version, split, sweeps=1, near=near, scenes=scenes, cache=cache)
        self.gap, self.near, self.dilation = gap, near, dilation
        tables = self.keyframes.index
        following = np.full(len(tables.sweep_previous), -1)
        known = np.flatnonzero(tables.sweep_previous >= 0)
        following[tables.sweep_previous[known]] = known
        later = {(int(s), int(n)): row for row, (s, n) in enumerate(zip(tables.sample_scene, tables.sample_number))}
        self._places = []
        for row in self.keyframes.rows.tolist():
            after = later.get((int(tables.sample_scene[row]), int(tables.sample_number[row]) + 1))
            sweep = self._sweep_after(int(tables.sample_sweep[row]), following)
            if after is not None and sweep is not None:
                self._places.append((row, sweep, after))
        if not self._places:
            raise PerceptionError(
                f"no keyframe of {split} has a sweep {gap} s after it", "the recordings of sweeps/", "unpack the sweeps"
            )

    def __len__(self) -> int:
        return len(self._places)

    @property
    def identifiers(self) -> list[str]:
        tables = self.keyframes.index
        return [
            f"{tables.scene_name[tables.sample_scene[r]]}/{tables.sample_number[r]:03d}" for r, _, _ in self._places
        ]

    def __getitem__(self, index: int) -> FlowSample:
        row, sweep, after = self._places[index]
        tables = self.keyframes.index
        key = int(tables.sample_sweep[row])
        to_global = [tables.ego_to_global(s) @ tables.lidar_to_ego(s) for s in (key, sweep)]
        pair = ScanPair(self._cloud(key), self._cloud(sweep), inverse_pose(to_global[1]) @ to_global[0])
        seconds = 1e-6 * float(tables.sweep_time[sweep] - tables.sweep_time[key])
        labels = None
        if self.keyframes.labelled:
            whole = 1e-6 * float(tables.sweep_time[int(tables.sample_sweep[after])] - tables.sweep_time[key])
            objects = (
                self._objects(row, after, 0.0, to_global[0]),
                self._objects(row, after, seconds / whole, to_global[1]),
            )
            labels = box_labels(pair, *objects, self.dilation)
        return FlowSample(self.identifiers[index], pair, labels, seconds)

    def _sweep_after(self, key: int, following: np.ndarray) -> int | None:
        """The sweep whose time is nearest to ``gap`` after the keyframe's, if it is near."""
        time = self.keyframes.index.sweep_time
        best, sweep = None, int(following[key])
        while sweep >= 0 and time[sweep] - time[key] < 2e6 * self.gap:
            off = abs(time[sweep] - time[key] - 1e6 * self.gap)
            if best is None or off < best[0]:
                best = (off, sweep)
            sweep = int(following[sweep])
        return None if best is None or best[0] > 0.5e6 * self.gap else best[1]

    def _cloud(self, sweep: int) -> PointCloud:
        tables = self.keyframes.index
        path = self.keyframes.root / str(tables.sweep_file[sweep])
        cloud = merge_sweeps([Sweep(path)], self.near, 1e-6 * float(tables.sweep_time[sweep]))
        return with_estimated_ground(cloud)

    def _objects(self, row: int, after: int, share: float, to_global: np.ndarray) -> Objects:
        """Boxes of a keyframe, moved by ``share`` of their way to the next one's; at 0 those without a way too."""
        tables = self.keyframes.index
        rows, next_rows = tables.boxes_of(row), tables.boxes_of(after)
        there = {int(instance): i for i, instance in enumerate(tables.box_instance[next_rows])}
        partner = np.array([there.get(int(instance), -1) for instance in tables.box_instance[rows]], np.int64)
        kept = np.flatnonzero((partner >= 0) | (share == 0))
        place, turn = tables.box_translation[rows][kept], tables.box_rotation[rows][kept]
        if share > 0:
            other = partner[kept]
            place = place + share * (tables.box_translation[next_rows][other] - place)
            turn = slerp(turn, tables.box_rotation[next_rows][other], share)
        boxes, _ = global_to_lidar(place, tables.box_size[rows][kept], turn, np.zeros((len(kept), 3)), to_global)
        category = tables.category_name[tables.box_category[rows][kept]]
        names = np.array([CLASS_OF.get(name, name) for name in category.tolist()], str)
        track = tables.instance_token[tables.box_instance[rows][kept]].astype(str)
        return Objects(Boxes3D(torch.from_numpy(boxes)), names, {"track": track})


def slerp(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Quaternions (N, 4) on the shorter arc between two sets of unit quaternions (Shoemake 1985)."""
    cosine = (first * second).sum(1)
    second = np.where(cosine[:, None] < 0, -second, second)
    angle = np.arccos(np.clip(np.abs(cosine), 0, 1))[:, None]
    near = angle < 1e-6
    sine = np.where(near, 1, np.sin(angle))
    mixed = np.where(
        near,
        (1 - share) * first + share * second,
        (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / sine,
    )
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))
