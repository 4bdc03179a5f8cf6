"""mmdet3d's own operators beside ours, in one process: its models on spconv's CPU wheel, plain loops for what of mmcv
is compiled. spconv's CPU convolution is right with one thread only."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mmdet3d
import numpy as np
import torch
from foreign_weights import drawn
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from shapely.geometry import Polygon
from torch import Tensor, nn

import perception.interop.mmdet3d  # noqa: F401  registers ours
from perception.interop.mmcv.stand_in import StandIn
from perception.sparse import SparseTensor

CONFIGS = Path(mmdet3d.__file__).parent / ".mim" / "configs"
KITTI = ("Pedestrian", "Cyclist", "Car")
NUSCENES = (
    *("car", "truck", "construction_vehicle", "bus", "trailer"),
    *("barrier", "motorcycle", "bicycle", "pedestrian", "traffic_cone"),
)
Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Case:
    """A published configuration, what it finds in the order of its labels, and where the points of a test lie."""

    name: str
    config: str
    classes: tuple[str, ...]
    low: Corner
    high: Corner

    @property
    def fields(self) -> tuple[str, ...]:
        return ("intensity",) if self.classes is KITTI else ("intensity", "time")

    def cloud(self, number: int, seed: int = 0) -> Tensor:
        return scattered(np.random.default_rng(seed), self.low, self.high, number, 3 + len(self.fields))


_CENTREPOINT = "centerpoint/centerpoint_{}_8xb4-cyclic-20e_nus-3d.py"
NEAR: tuple[Corner, Corner] = ((5, -8, -2), (20, 8, 0))
ROUND: tuple[Corner, Corner] = ((-10, -10, -3), (10, 10, 1))
SECOND = Case("second", "second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py", KITTI, *NEAR)
PILLARS = Case("pointpillars", "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py", KITTI, *NEAR)
CENTRES = Case("centerpoint", _CENTREPOINT.format("voxel01_second_secfpn"), NUSCENES, *ROUND)
PILLAR_CENTRES = Case("centerpoint-pillars", _CENTREPOINT.format("pillar02_second_secfpn"), NUSCENES, *ROUND)
CIRCLES = Case("circle-nms", _CENTREPOINT.format("pillar02_second_secfpn_head-circlenms"), NUSCENES, *ROUND)


def official_encoder() -> type[nn.Module]:
    """mmdet3d's own class, which the registry no longer has."""
    from mmdet3d.models.middle_encoders import SparseEncoder

    return SparseEncoder


def model_of(config: str, ours: bool) -> nn.Module:
    """The model of a published configuration, as it is or with mmdet3d's own encoder, with weights by the rule."""
    init_default_scope("mmdet3d")
    torch.set_num_threads(1)
    chosen = copy.deepcopy(Config.fromfile(CONFIGS / config).model)
    for key in ("middle_encoder", "pts_middle_encoder"):
        if not ours and key in chosen and chosen[key].type == "SparseEncoder":
            chosen[key].type = official_encoder()
    made = MODELS.build(chosen)
    weights = drawn({key: tuple(value.shape) for key, value in made.state_dict().items()})
    for key, value in made.state_dict().items():  # in place: mmdet3d takes a plain mapping for spconv 1.x's layout
        value.copy_(torch.from_numpy(weights[key]))
    return made


def scattered(generator: np.random.Generator, low: Corner, high: Corner, number: int, columns: int) -> Tensor:
    """Points (number, columns): x y z in the box, further values in 0 to 1."""
    xyz = generator.uniform(low, high, (number, 3))
    return torch.from_numpy(np.c_[xyz, generator.uniform(0, 1, (number, columns - 3))]).float()


def batch(case: Case, points: int, seed: int = 0) -> Any:
    """Two clouds with three labelled boxes each, as mmdet3d's pipelines hand them over."""
    generator = np.random.default_rng(seed)
    columns, low, high = 3 + len(case.fields), case.low, case.high
    clouds, samples = [], []
    for _ in range(2):
        clouds.append(scattered(generator, low, high, points, columns))
        size = [[0.8, 0.6, 1.7], [1.8, 0.6, 1.7], [3.9, 1.6, 1.5]]
        ground = generator.uniform(np.array(low[:2]) + 2, np.array(high[:2]) - 2, (3, 2))
        rows = np.c_[ground, [-1.5] * 3, size, [0.1, 1.5, -2.0]]
        if columns == 5:
            rows = np.c_[rows, [[1, 0], [0, 1], [2, 2]]]
        found = InstanceData()
        found.bboxes_3d = LiDARInstance3DBoxes(torch.from_numpy(rows).float(), box_dim=rows.shape[1])
        found.labels_3d = torch.tensor([0, 1, 2])
        sample = Det3DDataSample(metainfo={"box_type_3d": LiDARInstance3DBoxes})
        sample.gt_instances_3d = found
        samples.append(sample)
    return {"inputs": {"points": clouds}, "data_samples": samples}


def losses(model: nn.Module, data: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The losses by name, and the gradients of the 2D backbone and the head; spconv's CPU backward does not run."""
    return losses_and_gradients(model, data, ("backbone", "neck", "bbox_head"))


def in_double(model: nn.Module, encode: Callable[..., Tensor]) -> nn.Module:
    """A model of mmdet3d in double precision from its encoder on; ``encode`` answers with the encoder's layers."""
    for name, part in model.named_children():
        if name not in ("data_preprocessor", "voxel_encoder"):
            part.double()
    model.middle_encoder.forward = partial(encode, model.middle_encoder)
    return model


def encoded_by_ours(encoder: Any, features: Tensor, places: Tensor, batch_size: int) -> Tensor:
    """Our encoder on features of any precision; mmdet3d's interface is in single precision."""
    x = encoder.conv_input(SparseTensor.of(features.double(), places, encoder.sparse_shape, batch_size))
    for stage in encoder.encoder_layers:
        x = stage(x)
    return encoder.conv_out(x).dense().flatten(1, 2)


def losses_and_gradients(
    model: nn.Module, data: Any, parts: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The losses by name, and the gradients of the layers whose names hold one of ``parts``."""
    model.train()
    found = model(**model.data_preprocessor(copy.deepcopy(data), True), mode="loss")
    total = sum(sum(part) if isinstance(part, list) else part for part in found.values())
    learning = {name: p for name, p in model.named_parameters() if any(part in name for part in parts)}
    gradients = torch.autograd.grad(total, list(learning.values()), allow_unused=True)
    named = {name: float(sum(part) if isinstance(part, list) else part) for name, part in found.items()}
    return named, {name: g for name, g in zip(learning, gradients) if g is not None}


def boxes(model: nn.Module, data: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Boxes, scores and labels of each cloud."""
    model.eval()
    with torch.no_grad():
        results = model(**model.data_preprocessor(copy.deepcopy(data), False), mode="predict")
    found = [result.pred_instances_3d for result in results]
    return [(f.bboxes_3d.tensor, f.scores_3d, f.labels_3d) for f in found]


@contextmanager
def plain_operators() -> Iterator[None]:
    """Loops in place of our kernels, so that nothing of ours takes part."""
    stand_in: Any = sys.modules["mmcv._ext"]
    assert isinstance(stand_in, StandIn)
    kept = {name: stand_in.__dict__[name] for name in ("hard_voxelize_forward", "nms_rotated")}
    stand_in.__dict__.update(hard_voxelize_forward=looped_voxels, nms_rotated=looped_suppression)
    try:
        yield
    finally:
        stand_in.__dict__.update(kept)


def looped_voxels(
    points: Tensor,
    size: Tensor,
    reach: Tensor,
    voxels: Tensor,
    coors: Tensor,
    counts: Tensor,
    number: Tensor,
    **caps: Any,
) -> None:
    grid = np.round(((reach[3:] - reach[:3]) / size).numpy()).astype(int)
    rows: dict[tuple[int, ...], int] = {}
    for point, cell in zip(points, torch.floor((points[:, :3] - reach[:3]) / size).int().tolist()):
        if any(c < 0 or c >= n for c, n in zip(cell, grid)):
            continue
        key = tuple(cell[::-1])
        if key not in rows and len(rows) >= caps["max_voxels"]:
            continue
        row = rows.setdefault(key, len(rows))
        if counts[row] < caps["max_points"]:
            voxels[row, counts[row]] = point
            counts[row] += 1
        coors[row] = torch.tensor(key)
    number.fill_(len(rows))


def looped_suppression(
    dets: Tensor, scores: Tensor, order: Tensor, dets_sorted: Tensor, labels: Tensor, threshold: float, multi_label: int
) -> Tensor:
    kept: list[int] = []
    outlines: list[Polygon] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        x, y, w, h, angle = dets[i].double().tolist()
        cos, sin = np.cos(angle), np.sin(angle)
        corners = [(a * w / 2, b * h / 2) for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
        outline = Polygon([(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in corners])
        shared = [outline.intersection(other).area for other in outlines]
        if all(s <= threshold * (outline.area + o.area - s) for s, o in zip(shared, outlines)):
            kept.append(i)
            outlines.append(outline)
    return torch.tensor(kept, dtype=torch.long)
