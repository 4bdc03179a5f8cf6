"""Models of human keypoints."""

from __future__ import annotations

from perception.models.entries.entry import Entry
from perception.models.voxelkp import SMALL as VOXELKP_SMALL
from perception.models.voxelkp import VoxelKP, VoxelKPConfig

KEYPOINTS: dict[str, Entry] = {
    "voxelkp": Entry(
        VoxelKP,
        VoxelKPConfig(),
        "keypoints",
        "VoxelKP (ICCV 2025): joints of people in sparse voxels; Waymo's skeleton",
        {"openpcdet": "waymo_models/kp_effv2next4_voxelnext_iou_aug_bev_channel.yaml"},
    ),
    "voxelkp-small": Entry(
        VoxelKP,
        VOXELKP_SMALL,
        "keypoints",
        "VoxelKP for embedded GPUs: a thirtieth of the weights, geometry only; Waymo's skeleton",
    ),
}
