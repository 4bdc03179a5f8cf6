"""mmcv's operators on boxes, by its names and with its arguments. Headings there are ours: its "clockwise" is meant
for images, whose y points down."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.geometry.containment import box_of_points, points_in_boxes
from perception.geometry.overlap import bev_intersection, bev_iou
from perception.geometry.suppression import nms as suppress
from perception.geometry.suppression import nms_per_class


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Boxes to keep, best first; ``boxes`` (N, 4): x y of two corners, ``offset`` 1 where the far one is inclusive."""
    low, high = boxes[:, :2], boxes[:, 2:4] + offset
    flat = torch.cat([(low + high) / 2, high - low, torch.zeros_like(boxes[:, :1])], 1)
    return suppress(_upright(flat), scores, iou_threshold)


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: int,
) -> Tensor:
    """Boxes to keep, best first; ``dets`` (N, 5): x y width height angle. With labels, each class by itself."""
    boxes = _upright(dets[:, :5])
    if not multi_label:
        return suppress(boxes, scores, iou_threshold)
    kept = nms_per_class(boxes, scores, labels.long(), iou_threshold)
    return kept[scores[kept].argsort(descending=True, stable=True)]


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
    """Fill ``ious`` (N * M,) or (N,): over the union, or with ``mode_flag`` 1 over the first box."""
    first, second = _upright(boxes1), _upright(boxes2)
    if mode_flag == 0:
        found = bev_iou(first, second, aligned)
    else:
        area = boxes1[:, 2:4].double().prod(1)
        found = bev_intersection(first, second, aligned) / (area if aligned else area[:, None])
    ious.copy_(found.flatten())


def points_in_boxes_cpu_forward(boxes_tensor: Tensor, pts_tensor: Tensor, pts_indices_tensor: Tensor) -> None:
    """Fill (T, M) with 1 where point m of (M, 3) lies in box t of (T, 7), whose z is that of the bottom."""
    pts_indices_tensor.copy_(points_in_boxes(pts_tensor, _lifted(boxes_tensor)).T)


def points_in_boxes_all_forward(boxes_tensor: Tensor, pts_tensor: Tensor, box_idx_of_points_tensor: Tensor) -> None:
    """Fill (B, M, T) for points (B, M, 3) and boxes (B, T, 7), as ``points_in_boxes_cpu_forward``."""
    for boxes, points, found in zip(boxes_tensor, pts_tensor, box_idx_of_points_tensor):
        found.copy_(points_in_boxes(points, _lifted(boxes)))


def points_in_boxes_part_forward(boxes_tensor: Tensor, pts_tensor: Tensor, box_idx_of_points_tensor: Tensor) -> None:
    """Fill (B, M) with the first box of each point, -1 for none."""
    for boxes, points, found in zip(boxes_tensor, pts_tensor, box_idx_of_points_tensor):
        found.copy_(box_of_points(points, _lifted(boxes)))


def _upright(flat: Tensor) -> Tensor:
    """Boxes (N, 7) one metre high of x y length width heading (N, 5), in float64."""
    flat = flat.detach().double()
    ground = torch.zeros_like(flat[:, :1])
    return torch.cat([flat[:, :2], ground, flat[:, 2:4], torch.ones_like(ground), flat[:, 4:5]], 1)


def _lifted(boxes: Tensor) -> Tensor:
    half = torch.zeros_like(boxes[:, :7])
    half[:, 2] = boxes[:, 5] / 2
    return boxes[:, :7] + half
