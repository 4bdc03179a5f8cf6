"""What a centre head should answer: heatmaps of Gaussians, and the values of each object (Yin et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.heads.centre_grid import CentreGrid

MINIMUM_OVERLAP, MINIMUM_RADIUS, MAXIMUM_OBJECTS = 0.1, 2, 500


@dataclass(frozen=True, eq=False)
class CentreObjects:
    """The M objects of one task, in all samples: ``sample`` (M,), ``label`` (M,) class in the task, ``position`` (M, 2)
    x y in cells, ``radius`` (M,) in cells, ``boxes`` (M, 7 or 9), ``given`` (M,) rows of the sample's boxes."""

    sample: Tensor
    label: Tensor
    position: Tensor
    radius: Tensor
    boxes: Tensor
    given: Tensor


@dataclass(frozen=True, eq=False)
class CentreTargets:
    """``heatmap`` (B, C, H, W); for each of M cells that learn a box its ``sample`` and flat ``cell`` (M,), ``values``
    (M, 8 or 10) in the order of the branches, NaN where unknown, and ``boxes`` (M, 7)."""

    heatmap: Tensor
    sample: Tensor
    cell: Tensor
    values: Tensor
    boxes: Tensor


def objects_of_task(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    classes: range,
    grid: CentreGrid,
    shape: tuple[int, int],
    velocity: bool = False,
) -> CentreObjects:
    """Objects of the classes of one task, at most 500 a sample, clamped onto a map of ``shape`` (H, W).

    ``boxes`` (N, 7 or 9) and ``labels`` (N,) of each sample. For a head with ``velocity``, boxes without one get an
    unknown one: NaN, which costs nothing in the loss.
    """
    columns = 9 if velocity else 7
    rows, samples, kinds, given = [], [], [], []
    for number, (found, label) in enumerate(zip(boxes, labels)):
        if found.ndim != 2 or found.shape[1] not in (7, 9):
            raise PerceptionError(
                f"sample {number} has boxes of shape {tuple(found.shape)}", "(N, 7), or (N, 9) with velocities"
            )
        chosen = (label >= classes.start) & (label < classes.stop) & (found[:, 3:5] > 0).all(1)
        chosen_rows = chosen.nonzero()[:MAXIMUM_OBJECTS, 0]
        picked = found[chosen_rows, :columns].float()
        missing = picked.new_full((len(picked), columns - picked.shape[1]), torch.nan)
        rows.append(torch.cat([picked, missing], 1))
        kinds.append(label[chosen_rows] - classes.start)
        samples.append(torch.full_like(chosen_rows, number))
        given.append(chosen_rows)
    every = torch.cat(rows)
    height, width = shape
    limits = every.new_tensor([width - 0.5, height - 0.5])
    # Centres beyond the map belong to its last cells.
    position = grid.to_cells(every[:, :2]).clamp(min=0).minimum(limits)
    radius = gaussian_radius(grid.to_lengths(every[:, 3:5]))
    return CentreObjects(torch.cat(samples), torch.cat(kinds), position, radius, every, torch.cat(given))


def centre_targets(
    objects: CentreObjects, classes: int, batch_size: int, shape: tuple[int, int], reach: int = 0
) -> CentreTargets:
    """Targets on dense maps of ``shape`` (H, W).

    A box is learned in the cell of its centre and in those up to ``reach`` cells beside it that lie on the map.
    """
    height, width = shape
    centre = objects.position.long()
    heatmap = draw_gaussians(objects, centre, (batch_size, classes, height, width))
    steps = torch.arange(-reach, reach + 1, device=centre.device)
    cell = (centre[:, None] + torch.cartesian_prod(steps, steps).view(-1, 2)).flatten(0, 1)
    owner = torch.arange(len(centre), device=centre.device).repeat_interleave(len(steps) ** 2)
    on_map = ((cell >= 0) & (cell < cell.new_tensor([width, height]))).all(1)
    cell, owner = cell[on_map], owner[on_map]
    boxes = objects.boxes[owner]
    values = regression_values(boxes, objects.position[owner] - cell)
    return CentreTargets(heatmap, objects.sample[owner], cell[:, 1] * width + cell[:, 0], values, boxes[:, :7])


def regression_values(boxes: Tensor, offset: Tensor) -> Tensor:
    """Offset in cells (2), z, log of the sizes (3), cosine and sine of the heading, velocity if there is one."""
    heading = boxes[:, 6:7]
    return torch.cat([offset, boxes[:, 2:3], boxes[:, 3:6].log(), heading.cos(), heading.sin(), boxes[:, 7:]], 1)


def gaussian_radius(size: Tensor) -> Tensor:
    """Radius (N,) int64, at least 2, within which a box of ``size`` (N, 2) cells may move and keep its overlap.

    The smallest root of the three cases of CornerNet (Law & Deng 2018, section 3.2), for an overlap of 0.1. As all
    published centre heads do, it halves the roots where the quadratic formula divides by twice the leading coefficient.
    """
    a, b = size.unbind(1)
    total, area, overlap = a + b, a * b, MINIMUM_OVERLAP
    cases = (
        (1.0, total, area * (1 - overlap) / (1 + overlap)),
        (4.0, 2 * total, area * (1 - overlap)),
        (4 * overlap, -2 * overlap * total, area * (overlap - 1)),
    )
    roots = [(second + (second**2 - 4 * first * third).sqrt()) / 2 for first, second, third in cases]
    return torch.stack(roots).amin(0).long().clamp(min=MINIMUM_RADIUS)


def draw_gaussians(objects: CentreObjects, cell: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """A heatmap (B, C, H, W): at each ``cell`` (M, 2) x y a Gaussian of deviation diameter / 6, cut at the radius.

    Where several of a class meet, the highest counts.
    """
    batch, classes, height, width = shape
    side = 2 * objects.radius + 1
    # One row for every cell of every object's square.
    owner = torch.repeat_interleave(torch.arange(len(side), device=side.device), side**2)
    place = torch.arange(len(owner), device=side.device) - ((side**2).cumsum(0) - side**2)[owner]
    x_step = place % side[owner] - objects.radius[owner]
    y_step = torch.div(place, side[owner], rounding_mode="floor") - objects.radius[owner]
    x, y = cell[owner, 0] + x_step, cell[owner, 1] + y_step
    deviation = side[owner].double() / 6
    value = torch.exp(-(x_step**2 + y_step**2) / (2 * deviation**2)).float()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    flat = ((objects.sample * classes + objects.label)[owner] * height + y) * width + x
    heatmap = value.new_zeros(batch * classes * height * width)
    return heatmap.scatter_reduce(0, flat[inside], value[inside], "amax").view(shape)
