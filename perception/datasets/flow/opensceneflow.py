"""The HDF5 files that OpenSceneFlow makes of Argoverse 2, Waymo and nuScenes: one file a scene, one group a scan.

Keys as its pre-processing writes them; its index files are pickles and are not read: the groups say the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.flow.pairs import MOVING_DISTANCE, FlowLabels, FlowSample, with_ground
from perception.datasets.rigid import inverse
from perception.errors import PerceptionError, missing_extra, nearest
from perception.points import PointCloud
from perception.scan_pair import ScanPair

LAYOUT = "<root>/<scene>.h5 with a group <stamp> a scan: lidar, pose, ground_mask and, with labels, flow, flow_is_valid"
LABELS = ("flow", "flow_is_valid", "flow_category_indices")
MOST_POINTS = 20_000_000
USUAL_GAP = 0.1


class OpenSceneFlow:
    """Pairs of neighbouring scans of all scenes, called ``<scene>/<stamp of the first>``.

    Stamps are nanoseconds or microseconds; their length tells which. ``labelled`` leaves out pairs without flow,
    ``evaluation`` those without an ``eval_mask``, and points outside the mask are not valid then. Where a group has
    ``ego_motion`` that is the pose: it was computed before poses were rounded to float32.
    """

    def __init__(
        self,
        root: str | Path,
        scenes: Iterable[str] | None = None,
        labelled: bool = True,
        evaluation: bool = False,
    ) -> None:
        self.root, self.evaluation = Path(root), evaluation
        known = sorted(path.stem for path in self.root.glob("*.h5"))
        wanted = known if scenes is None else list(scenes)
        absent = [name for name in wanted if name not in known]
        if absent or not wanted:
            raise PerceptionError(
                f"{root} has no scene {absent[0]!r}" if absent else f"{root} has no .h5 files",
                LAYOUT,
                nearest(absent[0], known) if absent and known else "pass the folder that holds the .h5 files",
            )
        self._places: list[tuple[str, str, str]] = []
        for name in wanted:
            with self._open(name) as file:
                stamps = sorted((key for key in file if key.isdecimal()), key=int)
                self._places += [
                    (name, first, second)
                    for first, second in itertools.pairwise(stamps)
                    if (not labelled or "flow" in file[first]) and (not evaluation or "eval_mask" in file[first])
                ]
        if not self._places:
            raise PerceptionError(f"{root} has no pairs with labels", LAYOUT, "")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(f"{scene}/{first}" for scene, first, _ in self._places)

    def __getitem__(self, index: int) -> FlowSample:
        scene, *stamps = self._places[index]
        with self._open(scene) as file:
            where = f"{self.root / scene}.h5"
            first, second = (_scan(file[stamp], f"{where}, {stamp}") for stamp in stamps)
            pair = ScanPair(first, second, _motion(file[stamps[0]], file[stamps[1]], f"{where}, {stamps[0]}"))
            labels = self._labels(file[stamps[0]], pair, f"{where}, {stamps[0]}")
        unit = 1e-9 if len(stamps[0]) > 16 else 1e-6
        seconds = (int(stamps[1]) - int(stamps[0])) * unit
        return FlowSample(f"{scene}/{stamps[0]}", pair, labels, seconds if 0 < seconds < 10 else USUAL_GAP)

    def _labels(self, group: Any, pair: ScanPair, where: str) -> FlowLabels | None:
        if "flow" not in group:
            return None
        count = len(pair.first)
        flow = _array(group, "flow", where, (count, 3)).astype(np.float32)
        valid = _array(group, "flow_is_valid", where, (count,)).astype(np.bool_) & np.isfinite(flow).all(1)
        category = _array(group, "flow_category_indices", where, (count,)).astype(np.uint8)
        if self.evaluation:
            valid &= _array(group, "eval_mask", where, None).astype(np.bool_).reshape(-1)
        moving = np.linalg.norm(flow - pair.ego_flow(), axis=1) >= MOVING_DISTANCE
        instance = np.zeros(count, np.int64)
        if "flow_instance_id" in group:
            instance = _array(group, "flow_instance_id", where, (count,)).astype(np.int64)
        tracks, box = np.unique(instance, return_inverse=True)
        box = np.where(instance > 0, box.reshape(-1), -1).astype(np.int32)
        return FlowLabels(flow, moving & valid, valid, category, box, tracks.astype(str))

    def _open(self, scene: str) -> Any:
        try:
            import h5py
        except ImportError:
            raise missing_extra("h5py", "flow") from None
        try:
            return h5py.File(self.root / f"{scene}.h5", "r")
        except OSError as error:
            raise PerceptionError(
                f"{self.root / scene}.h5 is no readable HDF5 file: {' '.join(str(error).split())[:120]}",
                LAYOUT,
                "make or download it again",
            ) from None


def _scan(group: Any, where: str) -> PointCloud:
    values = _array(group, "lidar", where, None)
    if values.ndim != 2 or values.shape[1] < 3:
        raise PerceptionError(f"{where}: lidar of shape {values.shape}", "(N, 3) or more columns: x y z ...", "")
    ground = np.zeros(len(values), np.bool_)
    if "ground_mask" in group:
        ground = _array(group, "ground_mask", where, (len(values),))
    return with_ground(PointCloud(values[:, :3]), ground)


def _motion(first: Any, second: Any, where: str) -> np.ndarray:
    if "ego_motion" in first:
        return _array(first, "ego_motion", where, (4, 4)).astype(np.float64)
    before, after = (_array(group, "pose", where, (4, 4)).astype(np.float64) for group in (first, second))
    return inverse(after) @ before


def _array(group: Any, name: str, where: str, shape: tuple[int, ...] | None) -> np.ndarray:
    if name not in group:
        raise PerceptionError(f"{where} has no {name}", LAYOUT, "make the file again")
    stored = group[name]
    too_large = stored.size > 16 * MOST_POINTS or stored.dtype.kind not in "fiub"
    if too_large or (shape is not None and stored.shape != shape):
        raise PerceptionError(
            f"{where}: {name} of shape {stored.shape}, {stored.dtype}", f"numbers of shape {shape or '(N, ...)'}", ""
        )
    return np.asarray(stored[()])
