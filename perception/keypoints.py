"""Skeletons: which joints a person has, how bones join them, and which of them change places in a mirror."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from perception.config import config
from perception.errors import PerceptionError, nearest

LEFT_AND_RIGHT = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
WAYMO_JOINTS = ("nose", *(f"{side}_{part}" for part in LEFT_AND_RIGHT for side in ("left", "right")), "head_centre")


def _both(*bones: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{side}_{a}", f"{side}_{b}") for a, b in bones for side in ("left", "right"))


_WAYMO_BONES = (
    ("nose", "head_centre"),
    *_both(("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")),
    ("head_centre", "left_shoulder"),
    ("head_centre", "right_shoulder"),
    *_both(("shoulder", "hip")),
)
_WAYMO_SCALES = (0.052, *(s for s in (0.158, 0.144, 0.124, 0.214, 0.174, 0.178) for _ in range(2)), 0.158)


@config
class Skeleton:
    """``joints`` by name in the order of all arrays; ``bones`` and ``symmetric`` pairs are names of two joints.

    ``weights``: one a joint in the training loss; the default triples wrists and ankles, as VoxelKP is published.
    ``scales``: by which an error of each joint is judged in OKS, relative to the person's size (COCO's, as Waymo has
    them). The default is the skeleton of Waymo's lidar labels.
    """

    joints: tuple[str, ...] = WAYMO_JOINTS
    bones: tuple[tuple[str, str], ...] = _WAYMO_BONES
    symmetric: tuple[tuple[str, str], ...] = tuple((f"left_{part}", f"right_{part}") for part in LEFT_AND_RIGHT)
    weights: tuple[float, ...] = tuple(3.0 if j.endswith(("wrist", "ankle")) else 1.0 for j in WAYMO_JOINTS)
    scales: tuple[float, ...] = _WAYMO_SCALES

    def __post_init__(self) -> None:
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise PerceptionError(f"a skeleton of the joints {list(self.joints)}", "one joint or more, each name once")
        for pair in (*self.bones, *self.symmetric):
            for name in pair:
                if name not in self.joints:
                    raise PerceptionError(f"a joint {name!r}", "a joint of the skeleton", nearest(name, self.joints))
        moved = [name for pair in self.symmetric for name in pair]
        if len(set(moved)) != len(moved):
            raise PerceptionError(f"symmetric pairs {list(self.symmetric)}", "each joint in one pair at most")
        for name in ("weights", "scales"):
            values = getattr(self, name)
            if len(values) != len(self.joints) or min(values) < 0:
                raise PerceptionError(
                    f"{len(values)} {name} for {len(self.joints)} joints", "one a joint, none below 0", f"give {name}"
                )

    @property
    def bone_ends(self) -> list[tuple[int, int]]:
        """Numbers of the two joints of every bone."""
        return [(self.joints.index(a), self.joints.index(b)) for a, b in self.bones]

    @property
    def mirrored(self) -> list[int]:
        """For each joint the number of the one that stands in its place in a mirror."""
        swaps = {a: b for pair in self.symmetric for a, b in (pair, pair[::-1])}
        return [self.joints.index(swaps.get(name, name)) for name in self.joints]

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Joints that are reported together: all, the head's, and symmetric pairs, by the name both sides share."""
        paired = {name for pair in self.symmetric for name in pair}
        head = tuple(i for i, name in enumerate(self.joints) if name not in paired)
        found = {"all": tuple(range(len(self.joints)))} | ({"head": head} if head else {})
        for left, right in self.symmetric:
            label = left.removeprefix("left_").removeprefix("right_") + "s"
            found[label] = (self.joints.index(left), self.joints.index(right))
        return found


WAYMO_SKELETON = Skeleton()


@dataclass(frozen=True, eq=False)
class KeypointTargets:
    """Joints of the N labelled people of one sample, row by row those of its boxes.

    ``positions`` (N, J, 3) metres, NaN where a joint has no label. ``visible`` (N, J) float: 1 seen, 0 hidden, NaN not
    known. A person without any label teaches its box alone.
    """

    positions: Tensor
    visible: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.positions.shape)
        if len(shape) != 3 or shape[2] != 3 or tuple(self.visible.shape) != shape[:2]:
            raise PerceptionError(
                f"keypoints of shape {shape} with visibilities {tuple(self.visible.shape)}", "(N, J, 3) and (N, J)"
            )

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def labelled(self) -> Tensor:
        """(N, J) bool."""
        return torch.isfinite(self.positions).all(2)

    def select(self, rows: Tensor) -> KeypointTargets:
        return KeypointTargets(self.positions[rows], self.visible[rows])

    def to(self, device: torch.device | str) -> KeypointTargets:
        return KeypointTargets(self.positions.to(device), self.visible.to(device))

    @classmethod
    def unknown(cls, people: int, joints: int, device: torch.device | str = "cpu") -> KeypointTargets:
        """Of people whose joints nobody labelled."""
        positions = torch.full((people, joints, 3), torch.nan, device=device)
        return cls(positions, positions[..., 0])

    @classmethod
    def concatenate(cls, parts: Sequence[KeypointTargets]) -> KeypointTargets:
        return cls(torch.cat([p.positions for p in parts]), torch.cat([p.visible for p in parts]))
