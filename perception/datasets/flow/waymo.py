"""Scene flow of the Waymo Open Dataset: neighbouring frames, labels from the boxes' tracks.

Jund et al., "Scalable Scene Flow from Point Clouds in the Real World", RA-L 2022.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from perception.datasets.flow.labels import DILATION, box_labels
from perception.datasets.flow.pairs import FlowSample
from perception.datasets.rigid import inverse
from perception.datasets.waymo.dataset import Waymo, WaymoSegment
from perception.errors import PerceptionError
from perception.scan_pair import ScanPair
from perception.scene_flow.ground import with_estimated_ground

LONGEST_GAP = 0.15


class WaymoFlow:
    """Pairs of frames 0.1 s apart, called ``<segment>/<stamp of the first in microseconds>``.

    First returns of the top lidar, as in the published flow set, unless ``lasers`` and ``second_return`` say more.
    Points in no-label zones are not valid. The ground is estimated.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "training",
        segments: Iterable[str] | None = None,
        lasers: Iterable[int] = (1,),
        second_return: bool = False,
        dilation: float = DILATION,
        labelled: bool = True,
    ) -> None:
        self.dilation = dilation
        self.frames = Waymo(
            root, split, segments, lasers=tuple(lasers), second_return=second_return, signs=True, labelled=labelled
        )
        self._current: WaymoSegment | None = None

    @cached_property
    def _places(self) -> list[tuple[WaymoSegment, int]]:
        found = []
        for segment in self.frames.segments:
            stamps = segment.stamps
            found += [(segment, i) for i in range(len(stamps) - 1) if (stamps[i + 1] - stamps[i]) / 1e6 < LONGEST_GAP]
            segment.close()
        if not found:
            raise PerceptionError("no two frames 0.1 s apart", "whole segments", "download them again")
        return found

    def __len__(self) -> int:
        return len(self._places)

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(segment.identifier(index) for segment, index in self._places)

    def __getitem__(self, index: int) -> FlowSample:
        segment, place = self._places[index]
        if self._current is not None and self._current is not segment:
            self._current.close()
        self._current = segment
        first, second = (with_estimated_ground(segment.cloud(i)) for i in (place, place + 1))
        pair = ScanPair(first, second, inverse(segment.pose(place + 1)) @ segment.pose(place))
        objects = segment.objects(place), segment.objects(place + 1)
        labels = None
        if objects[0] is not None and objects[1] is not None:
            labels = box_labels(pair, objects[0], objects[1], self.dilation)
            labels = replace(labels, valid=labels.valid & ~first.fields["no_label_zone"])
        seconds = (segment.stamps[place + 1] - segment.stamps[place]) / 1e6
        return FlowSample(segment.identifier(place), pair, labels, seconds)
