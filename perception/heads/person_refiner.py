"""A second look at each found person: a point network on the returns about it, for the small keypoint model.

Voxels of a decimetre and cells of eight of them tell where people are long before they tell which way those face. The
points about one person, seen along the sensor's line of sight, tell it at once: PointNet (Qi et al., CVPR 2017) in the
frame of each object, as Frustum PointNets (Qi et al., CVPR 2018) refine theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.config import config
from perception.dense import Layers, Linear
from perception.keypoints import KeypointTargets
from perception.losses.keypoints import visibility_levels
from perception.sparse import BatchNorm, HardVoxels
from perception.sparse.scatter import gather_rows

# An adult's box in metres, about which sizes are predicted.
TYPICAL_SIZE = (0.8, 0.7, 1.7)
# Values beside the joints' x, y, z and visibility: the centre's correction, log size, cosine and sine, being a person.
BOX_VALUES = 9
BETA = 0.05
CHUNK = 64  # people whose distances to the points about them are in memory at once


@config
class RefinerConfig:
    """Of each person ``points`` are looked at, drawn evenly from those within ``radius`` metres on the ground plan and
    ``reach`` above and below the centre; ``widths`` of the layers before and after each point has seen the maximum.

    In use people are looked at in ``rounds``, each about the centre that the one before found; those stay whose
    geometric mean of both scores is above ``score_threshold`` and who are ``apart`` metres from everyone better. In
    training centres are moved by ``noise`` metres (one sigma), and up to ``negatives`` peaks a sample where nobody
    stands teach what is no person.
    """

    points: int = 128
    radius: float = 0.9
    reach: float = 1.3
    widths: tuple[tuple[int, ...], tuple[int, ...]] = ((64, 96), (192, 256))
    rounds: int = 2
    score_threshold: float = 0.7
    apart: float = 0.4
    noise: float = 0.12
    negatives: int = 16


@dataclass(frozen=True, eq=False)
class ScanPoints:
    """``xyz`` (N, 3) metres and the ``sample`` (N,) of each."""

    xyz: Tensor
    sample: Tensor

    @classmethod
    def of(cls, voxels: HardVoxels) -> ScanPoints:
        """The points that the voxels hold."""
        filled = torch.arange(voxels.points.shape[1], device=voxels.counts.device) < voxels.counts[:, None]
        sample = voxels.coordinates[:, :1].long().expand_as(filled)[filled]
        return cls(voxels.points[..., :3][filled], sample)


@dataclass(frozen=True, eq=False)
class Crops:
    """Of M people: ``points`` (M, K, 3) about the ``centre`` (M, 3), turned so that the sensor looks along +x;
    ``azimuth`` (M,) that they were turned back by, ``count`` (M,) of points that there were before K were drawn."""

    points: Tensor
    centre: Tensor
    azimuth: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class Refined:
    """Of M people: ``boxes`` (M, 7), ``joints`` (M, J, 3) metres, ``visibility`` (M, J) levels from 0 to 2, ``person``
    (M,) logits. ``values`` (M, 4 J + 9) are the raw answers."""

    boxes: Tensor
    joints: Tensor
    visibility: Tensor
    person: Tensor
    values: Tensor


class PersonRefiner(nn.Module):
    """Joints, box and whether it is a person at all, from the points about a place."""

    def __init__(self, joints: int, settings: RefinerConfig) -> None:
        super().__init__()
        self.joints, self.settings = joints, settings
        first, second = settings.widths
        # a point: x, y, z; a person: log of the count, log of the distance
        self.near = _layers(5, first)
        self.wide = _layers(2 * first[-1], second)
        self.last = _layers(second[-1], (second[-1] // 2,))
        self.out = Linear(second[-1] // 2, 4 * joints + BOX_VALUES)

    def forward(self, crops: Crops) -> Refined:
        people, points, _ = crops.points.shape
        distance = crops.centre[:, :2].norm(dim=1)
        told = torch.stack([crops.count.float().log1p() / 4, distance.log1p() / 4], 1)
        values = torch.cat([crops.points, told[:, None].expand(-1, points, -1)], 2).flatten(0, 1)
        near = self.near(values).unflatten(0, (people, points))
        highest = near.amax(1, keepdim=True).expand_as(near)
        wide = self.wide(torch.cat([near, highest], 2).flatten(0, 1)).unflatten(0, (people, points))
        return self._decode(self.out(self.last(wide.amax(1))), crops)

    def _decode(self, values: Tensor, crops: Crops) -> Refined:
        joints, levels, box = values.float().split([3 * self.joints, self.joints, BOX_VALUES], 1)
        placed = crops.centre[:, None] + turned(joints.unflatten(1, (self.joints, 3)), crops.azimuth)
        centre = crops.centre + turned(box[:, None, :3], crops.azimuth)[:, 0]
        size = box[:, 3:6].clamp(-2, 2).exp() * box.new_tensor(TYPICAL_SIZE)
        heading = torch.atan2(box[:, 7], box[:, 6]) + crops.azimuth
        heading = torch.remainder(heading + torch.pi, 2 * torch.pi) - torch.pi
        return Refined(torch.cat([centre, size, heading[:, None]], 1), placed, levels, box[:, 8], values)

    def crop(self, scan: ScanPoints, centre: Tensor, sample: Tensor) -> Crops:
        """What lies about ``centre`` (M, 3) in the ``sample`` (M,) of each."""
        rows, count = self._rows(scan, centre, sample)
        azimuth = torch.atan2(centre[:, 1], centre[:, 0])
        if len(scan.xyz):
            points = gather_rows(scan.xyz, rows.flatten()).unflatten(0, rows.shape) - centre[:, None]
        else:
            points = centre.new_zeros((*rows.shape, 3))
        points = torch.where((count > 0)[:, None, None], points, 0.0)
        return Crops(turned(points, -azimuth), centre, azimuth, count)

    def _rows(self, scan: ScanPoints, centre: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (M, K) of the points of each person and how many there were (M,); few are repeated, many thinned out."""
        wanted = self.settings.points
        steps = torch.arange(wanted, device=centre.device)
        near = self._near(scan, centre)
        xyz, owner = scan.xyz[near], scan.sample[near]
        rows, counts = [], []
        for part in range(0, len(centre), CHUNK):
            away = (xyz[None] - centre[part : part + CHUNK, None]).abs()
            inside = (away[..., :2] < self.settings.radius).all(2) & (away[..., 2] < self.settings.reach)
            inside &= owner[None] == sample[part : part + CHUNK, None]
            count = inside.sum(1)
            found = near[inside.nonzero()[:, 1]]
            start = count.cumsum(0) - count
            place = torch.where(
                count[:, None] > wanted, steps * count[:, None] // wanted, steps % count[:, None].clamp(min=1)
            )
            chosen = (start[:, None] + place).clamp(max=max(len(found) - 1, 0))
            rows.append(found[chosen] if len(found) else torch.zeros_like(chosen))
            counts.append(count)
        if not rows:
            return steps.new_zeros((0, wanted)), steps.new_zeros(0)
        return torch.cat(rows), torch.cat(counts)

    def _near(self, scan: ScanPoints, centre: Tensor) -> Tensor:
        """Rows of the points that share a cell of twice the radius, or the next one, with anybody in any sample."""
        if not len(centre) or not len(scan.xyz):
            return scan.sample.new_zeros(0)
        low = torch.minimum(scan.xyz[:, :2].amin(0), centre[:, :2].amin(0))
        cells, places = (
            torch.div(xy - low, 2 * self.settings.radius, rounding_mode="floor").long() + 1
            for xy in (scan.xyz[:, :2], centre[:, :2])
        )
        shape = torch.maximum(cells.amax(0), places.amax(0)) + 2
        taken = torch.zeros(shape.tolist(), dtype=torch.bool, device=centre.device)
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                taken[places[:, 0] + x, places[:, 1] + y] = True
        return taken[cells[:, 0], cells[:, 1]].nonzero()[:, 0]

    def refine(self, scan: ScanPoints, centre: Tensor, sample: Tensor) -> Refined:
        """People as they are seen about ``centre`` (M, 3) after some rounds of looking."""
        found = self(self.crop(scan, centre, sample))
        for _ in range(self.settings.rounds - 1):
            found = self(self.crop(scan, found.boxes[:, :3], sample))
        return found

    def loss(
        self,
        scan: ScanPoints,
        boxes: Tensor,
        sample: Tensor,
        people: KeypointTargets,
        empty: Tensor,
        empty_sample: Tensor,
    ) -> dict[str, Tensor]:
        """Of M true ``boxes`` (M, 7) with the joints of ``people``, and E places ``empty`` (E, 3) without a person."""
        noise = torch.randn_like(boxes[:, :3]).clamp(-3, 3) * self.settings.noise
        centre = torch.cat([boxes[:, :3] + noise, empty])
        crops = self.crop(scan, centre, torch.cat([sample, empty_sample]))
        found, real = self(crops), len(boxes)
        values = found.values[:real].float()
        joints, levels, box = values.split([3 * self.joints, self.joints, BOX_VALUES], 1)
        azimuth = crops.azimuth[:real]
        wanted = turned(people.positions.float() - centre[:real, None], -azimuth)
        known = torch.isfinite(wanted).all(2)
        error = F.smooth_l1_loss(
            joints.unflatten(1, (self.joints, 3)), wanted.nan_to_num(0.0), reduction="none", beta=BETA
        ).sum(2)
        told = visibility_levels(people.positions, people.visible.float())
        seen = F.smooth_l1_loss(levels, told.nan_to_num(0.0), reduction="none", beta=0.2)
        person = torch.cat([torch.ones_like(box[:, 8]), torch.zeros_like(empty[:, 0])])
        # Not 1 / M as elsewhere in heads: without people everything is 0, not NaN.
        return {
            "second joints": 10 * (error * known).sum() / known.sum().clamp(min=1),
            "second visibility": (seen * ~told.isnan()).sum() / (~told.isnan()).sum().clamp(min=1),
            "second box": 2 * (box[:, :8] - self._box_target(boxes, centre[:real], azimuth)).abs().sum() / max(real, 1),
            "person": F.binary_cross_entropy_with_logits(found.person, person, reduction="sum") / max(len(person), 1),
        }

    @staticmethod
    def _box_target(boxes: Tensor, centre: Tensor, azimuth: Tensor) -> Tensor:
        offset = turned((boxes[:, :3] - centre)[:, None], -azimuth)[:, 0]
        size = (boxes[:, 3:6] / boxes.new_tensor(TYPICAL_SIZE)).clamp(min=1e-3).log()
        heading = boxes[:, 6] - azimuth
        return torch.cat([offset, size, heading.cos()[:, None], heading.sin()[:, None]], 1)


def turned(points: Tensor, angle: Tensor) -> Tensor:
    """(M, K, 3) about z by the angles (M,), radians."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y, z = points.unbind(2)
    return torch.stack([x * cos - y * sin, x * sin + y * cos, z], 2)


def _layers(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    made: list[nn.Module] = []
    for width in widths:
        made += [Linear(inputs, width, bias=False), BatchNorm(width), nn.ReLU()]
        inputs = width
    return Layers(*made)
