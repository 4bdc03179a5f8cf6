"""Overlap, suppression and containment of oriented boxes (N, 7): x y z length width height heading."""

from perception.geometry.circles import circle_nms
from perception.geometry.containment import box_of_points, points_in_boxes
from perception.geometry.overlap import bev_intersection, bev_iou, iou_3d, nearest_bev_iou
from perception.geometry.suppression import nms, nms_per_class

__all__ = [
    "bev_intersection",
    "bev_iou",
    "box_of_points",
    "circle_nms",
    "iou_3d",
    "nearest_bev_iou",
    "nms",
    "nms_per_class",
    "points_in_boxes",
]
