"""VoxelKP's head (Shi et al., ICCV 2025): people, their boxes and their joints in the sparse voxels themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from perception.boxes import Boxes3D
from perception.config import config
from perception.errors import PerceptionError
from perception.heads.centre_grid import CentreGrid, decode
from perception.heads.centre_head import CentreLossWeights, initialise, object_losses
from perception.heads.centre_selection import CentreSelection, Peaks, best, gather_peaks, suppressed
from perception.heads.centre_targets import CentreObjects, objects_of_task
from perception.heads.person_refiner import ScanPoints
from perception.heads.sparse_branches import SparseBranch
from perception.heads.sparse_centre_head import LOG_LIMIT
from perception.heads.sparse_targets import sparse_targets
from perception.keypoints import KeypointTargets, Skeleton
from perception.losses.centre import penalised_focal
from perception.losses.keypoints import SEEN, bone_loss, joint_loss, visibility_levels, visibility_loss
from perception.results import Skeletons
from perception.sparse import SparseTensor
from perception.sparse.scatter import gather_rows

# In the order in which the rows of answers are put together; x, y and z begin with the box's centre.
VALUES = ("size", "rotation", "overlap", "x", "y", "z", "visibility")
# Peaks from here on are worth a second look.
EMPTY_SCORE = 0.05


@config
class KeypointLossWeights:
    """The released weights. There boxes and joints weigh 2 each and their sum is halved; here both weigh 1.

    ``boxes`` of the heatmap, the boxes' values (with ``codes``), their DIoU and the predicted overlap.
    """

    boxes: CentreLossWeights = field(default_factory=lambda: CentreLossWeights(box=1.0, distance_iou=2.0))
    joints: float = 1.0
    bones: float = 1.0
    visibility: float = 1.0


@dataclass(frozen=True, eq=False)
class Answers:
    """Of M rows: ``box`` (M, 8) values as ``centre_grid.decode`` takes them, ``overlap`` (M,) = 2 IoU - 1, ``joints``
    (M, J, 3) in cells from the row's own x, y and metres z, ``visibility`` (M, J) from 0 (none) to 2 (seen)."""

    box: Tensor
    overlap: Tensor
    joints: Tensor
    visibility: Tensor


@dataclass(frozen=True, eq=False)
class KeypointPredictions:
    """``heatmap`` (N, 1) logits on the (y, x) sites of ``features``; ``values`` (N, 4 J + 9) of all rows in training,
    None in use, where only the peaks need them. ``scan``: the points, for a model that looks at them again."""

    features: SparseTensor
    heatmap: Tensor
    values: Tensor | None = None
    scan: ScanPoints | None = None


class KeypointHead(nn.Module):
    """A small network for every kind of value, on the rows of a sparse map.

    ``class_name`` is what the boxes are called. Each joint is found from the row's own place, as the centre is.
    """

    def __init__(self, channels: int, skeleton: Skeleton, grid: CentreGrid, class_name: str, kernel: int = 3) -> None:
        super().__init__()
        self.skeleton, self.grid, self.class_name = skeleton, grid, class_name
        joints = len(skeleton.joints)
        self.widths = {"size": 3, "rotation": 2, "overlap": 1, **dict.fromkeys("xyz", joints + 1), "visibility": joints}
        widths = {**self.widths, "heatmap": 1}
        branches = {name: SparseBranch(channels, width, kernel) for name, width in widths.items()}
        self.tasks = nn.ModuleList([nn.ModuleDict(branches)])
        initialise(self.tasks)

    def forward(self, x: SparseTensor) -> KeypointPredictions:
        everything = self.training or torch.is_grad_enabled()
        return KeypointPredictions(x, self._branch("heatmap")(x), self.everywhere(x) if everything else None)

    def everywhere(self, x: SparseTensor) -> Tensor:
        """All values of all rows, branch by branch."""
        return torch.cat([self._branch(name)(x) for name in VALUES], 1)

    def at(self, predictions: KeypointPredictions, rows: Tensor) -> Answers:
        """The answers in some rows (M,)."""
        if predictions.values is not None:
            values = gather_rows(predictions.values, rows)
        else:
            values = torch.cat([self._branch(name).at(predictions.features, rows) for name in VALUES], 1)
        size, rotation, overlap, x, y, z, visibility = values.split([self.widths[name] for name in VALUES], 1)
        box = torch.cat([x[:, :1], y[:, :1], z[:, :1], size, rotation], 1)
        return Answers(box, overlap[:, 0], torch.stack([x[:, 1:], y[:, 1:], z[:, 1:]], 2), visibility)

    def _branch(self, name: str) -> SparseBranch:
        branch = self.tasks[0][name]  # type: ignore[index]
        assert isinstance(branch, SparseBranch)
        return branch

    def loss(
        self,
        predictions: KeypointPredictions,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        keypoints: Sequence[KeypointTargets] | None,
        weights: KeypointLossWeights,
    ) -> dict[str, Tensor]:
        """``loss`` and its parts; ``keypoints`` of each sample belong to its ``boxes`` row by row, None for no labels.

        The released head cannot be trained (it never assigns targets). This is the recipe of the class it is derived
        from, with its own weights: each person belongs to the nearest voxel, which learns everything about it, and a
        Gaussian around both makes the heatmap. People without labelled joints teach their boxes alone.
        """
        weights.boxes.check_sparse()
        sites = predictions.features.sites
        height, width = sites.spatial_shape
        with torch.no_grad():
            objects = objects_of_task(boxes, labels, range(1), self.grid, (height, width))
            targets = sparse_targets(objects, 1, sites)
            people = self._people(objects, targets.objects, keypoints, boxes)
            known = people.labelled.any(1).nonzero()[:, 0]
            people = people.select(known)
        found = self.at(predictions, targets.row)
        cells = sites.coordinates[targets.row][:, [2, 1]]
        parts = {
            "heatmap": weights.boxes.heatmap * penalised_focal(predictions.heatmap, targets.heatmap),
            **object_losses(
                cells, found.box, found.overlap, targets.values, targets.boxes, self.grid, weights.boxes, LOG_LIMIT
            ),
            **self._joint_losses(cells[known], found.joints[known], found.visibility[known], people, weights),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def _people(
        self,
        objects: CentreObjects,
        rows: Tensor,
        keypoints: Sequence[KeypointTargets] | None,
        boxes: Sequence[Tensor],
    ) -> KeypointTargets:
        """The joints of those of the objects that have a voxel."""
        joints, device = len(self.skeleton.joints), rows.device
        if keypoints is None:
            return KeypointTargets.unknown(len(rows), joints, device)
        for number, (given, box) in enumerate(zip(keypoints, boxes)):
            if tuple(given.visible.shape) != (len(box), joints):
                raise PerceptionError(
                    f"sample {number} has {len(box)} boxes and keypoints of shape {tuple(given.visible.shape)}",
                    f"({len(box)}, {joints}): one row a box, one column a joint of the skeleton",
                )
        starts = torch.tensor([0, *(len(box) for box in boxes)], device=device).cumsum(0)
        place = starts[objects.sample[rows]] + objects.given[rows]
        return KeypointTargets.concatenate(keypoints).select(place)

    def _joint_losses(
        self, cells: Tensor, joints: Tensor, visibility: Tensor, people: KeypointTargets, weights: KeypointLossWeights
    ) -> dict[str, Tensor]:
        positions = people.positions.float()
        wanted = torch.cat([self.grid.to_cells(positions[..., :2]) - cells[:, None], positions[..., 2:]], 2)
        importance = joints.new_tensor(self.skeleton.weights).float()
        return {
            "joints": weights.joints * joint_loss(joints, wanted, importance),
            "bones": weights.bones * bone_loss(self.place(cells, joints), positions, self.skeleton.bone_ends),
            "visibility": weights.visibility
            * visibility_loss(visibility, visibility_levels(positions, people.visible.float())),
        }

    @torch.no_grad()
    def empty_places(
        self, predictions: KeypointPredictions, boxes: Sequence[Tensor], most: int
    ) -> tuple[Tensor, Tensor]:
        """Centres (E, 3) of up to ``most`` peaks a sample above the heatmap's first score, a metre and more from every
        person, and the sample (E,) of each."""
        coordinates, scores = predictions.features.coordinates, predictions.heatmap[:, 0].float().sigmoid()
        places, samples = [scores.new_zeros((0, 3))], [coordinates.new_zeros(0).long()]
        for sample, people in enumerate(boxes):
            rows = (coordinates[:, 0] == sample).nonzero()[:, 0]
            rows = rows[best(scores[rows], 4 * most, EMPTY_SCORE)]
            centre = decode(coordinates[rows][:, [2, 1]], self.at(predictions, rows).box.float(), self.grid)[:, :3]
            if len(people):
                far = torch.cdist(centre[:, :2], people[:, :2].float()).amin(1) > 1
                centre = centre[far]
            places.append(centre[:most])
            samples.append(torch.full((len(places[-1]),), sample, device=scores.device))
        return torch.cat(places), torch.cat(samples)

    def place(self, cells: Tensor, joints: Tensor) -> Tensor:
        """Joints (M, J, 3) in metres of those predicted in ``cells`` (M, 2) x y."""
        joints = joints.float()
        return torch.cat([self.grid.to_metres(cells[:, None] + joints[..., :2]), joints[..., 2:]], 2)

    def results(self, predictions: KeypointPredictions, selection: CentreSelection) -> list[Skeletons]:
        """Peaks, their boxes and joints, suppression of boxes: one Skeletons a sample, best first."""
        batch = predictions.features.sites.batch_size
        return [self.people(self.peaks(predictions, sample, selection)[0], selection) for sample in range(batch)]

    def peaks(self, predictions: KeypointPredictions, sample: int, selection: CentreSelection) -> list[Peaks]:
        """Candidates of one sample as suppression gets them; columns after a box's 7 are its joints, then levels."""
        sites = predictions.features.sites
        mine = (sites.coordinates[:, 0] == sample).nonzero()[:, 0]
        scores = predictions.heatmap[mine, 0].float().sigmoid()
        top = best(scores, selection.peaks, selection.score_threshold)
        rows = mine[top]
        found, cells = self.at(predictions, rows), sites.coordinates[rows][:, [2, 1]]
        boxes = decode(cells, found.box.float(), self.grid)
        everything = torch.cat([boxes, self.place(cells, found.joints).flatten(1), found.visibility.float()], 1)
        return [gather_peaks(everything, scores[top], torch.zeros_like(rows), found.overlap.float(), selection)]

    def people(self, peaks: Peaks, selection: CentreSelection) -> Skeletons:
        """The results of one sample."""
        kept = suppressed(peaks, selection.suppression[0])
        joints = len(self.skeleton.joints)
        boxes, positions, levels = kept.boxes.split([7, 3 * joints, joints], 1)
        return Skeletons(
            Boxes3D(boxes),
            kept.scores,
            positions.unflatten(1, (joints, 3)),
            (levels / SEEN).clamp(0, 1),
            self.skeleton.joints,
            self.class_name,
            self.skeleton.bones,
        )
