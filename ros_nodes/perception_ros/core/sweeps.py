"""The past sweeps of a sensor as one cloud in the frame of the newest, as detectors of nuScenes read them.

Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, section 4. The same values as
``perception.datasets.nuscenes.sweeps.merge_sweeps``, from clouds as they come in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from perception.points import PointCloud
from perception_ros.core.motion import Motion
from perception_ros.core.poses import SECOND, motion

TIME = "time"


@dataclass(frozen=True, eq=False)
class _Sweep:
    cloud: PointCloud
    stamp: int
    pose: np.ndarray | None


class SweepRing:
    """The newest ``count`` sweeps, none older than ``oldest`` seconds before the newest.

    ``near``: points less than this many metres from the sensor along both x and y are the vehicle's own and left out.
    ``unplaced`` counts sweeps that were left out because the motion since them is not known.
    """

    def __init__(self, count: int, source: Motion, oldest: float = 0.6, near: float = 1.0) -> None:
        self.count, self.source, self.oldest, self.near = count, source, int(oldest * SECOND), near
        self.unplaced = 0
        self._sweeps: deque[_Sweep] = deque(maxlen=max(count, 1))

    def push(self, cloud: PointCloud, stamp: int) -> PointCloud:
        """Take a sweep in and answer all of them in its frame, newest first, with ``time``: seconds before it.

        A stamp before the last one's means that the clock went back, and starts anew.
        """
        if self._sweeps and stamp <= self._sweeps[0].stamp:
            self.reset()
        if self.near > 0:
            xyz = cloud.xyz
            cloud = cloud.select((np.abs(xyz[:, 0]) >= self.near) | (np.abs(xyz[:, 1]) >= self.near))
        self._sweeps.appendleft(_Sweep(cloud, stamp, self.source.pose(cloud.frame, stamp)))
        newest = self._sweeps[0]
        parts = [_with_time(newest.cloud, 0.0)]
        for sweep in list(self._sweeps)[1:]:
            if stamp - sweep.stamp > self.oldest:
                break
            # A pose that was not known when the sweep came may be known now.
            pose = sweep.pose if sweep.pose is not None else self.source.pose(sweep.cloud.frame, sweep.stamp)
            if pose is None or newest.pose is None:
                self.unplaced += 1
                continue
            move = motion(pose, newest.pose)
            xyz = (sweep.cloud.xyz @ move[:3, :3].T + move[:3, 3]).astype(np.float32)
            lag = (stamp - sweep.stamp) / SECOND
            parts.append(_with_time(replace(sweep.cloud, xyz=xyz, frame=newest.cloud.frame), lag))
        return PointCloud.concatenate(parts) if len(parts) > 1 else parts[0]

    def reset(self) -> None:
        self._sweeps.clear()


def _with_time(cloud: PointCloud, lag: float) -> PointCloud:
    return replace(cloud, fields={**cloud.fields, TIME: np.full(len(cloud), lag, np.float32)})
