"""What the published configurations of mmdet3d 1.4 say, of all that an import needs to know, by our names."""

from __future__ import annotations

from typing import Any

_KITTI_TEST = {"nms_thr": 0.01, "score_thr": 0.1, "nms_pre": 100, "max_num": 50}


def _kitti_head(generator: str, reach: tuple[float, float, float, float]) -> dict[str, Any]:
    low_x, low_y, high_x, high_y = reach
    return {
        "type": "Anchor3DHead",
        "num_classes": 3,
        "anchor_generator": {
            "type": generator,
            "ranges": [[low_x, low_y, z, high_x, high_y, z] for z in (-0.6, -0.6, -1.78)],
            "sizes": [[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]],
            "rotations": [0, 1.57],
        },
    }


def _assigners(small: tuple[float, float]) -> dict[str, Any]:
    rules = [dict(zip(("pos_iou_thr", "neg_iou_thr"), pair)) for pair in (small, small, (0.6, 0.45))]
    return {"assigner": rules}


_SECOND: dict[str, Any] = {
    "type": "VoxelNet",
    "data_preprocessor": {
        "voxel_layer": {
            "max_num_points": 5,
            "point_cloud_range": [0, -40, -3, 70.4, 40, 1],
            "voxel_size": [0.05, 0.05, 0.1],
            "max_voxels": (16000, 40000),
        }
    },
    "voxel_encoder": {"type": "HardSimpleVFE"},
    "middle_encoder": {"type": "SparseEncoder", "in_channels": 4},
    "backbone": {"type": "SECOND", "layer_nums": [5, 5], "layer_strides": [1, 2], "out_channels": [128, 256]},
    "neck": {"type": "SECONDFPN", "upsample_strides": [1, 2], "out_channels": [256, 256]},
    "bbox_head": _kitti_head("Anchor3DRangeGenerator", (0, -40, 70.4, 40)),
    "train_cfg": _assigners((0.35, 0.2)),
    "test_cfg": _KITTI_TEST,
}
_POINTPILLARS: dict[str, Any] = {
    "type": "VoxelNet",
    "data_preprocessor": {
        "voxel_layer": {
            "max_num_points": 32,
            "point_cloud_range": [0, -39.68, -3, 69.12, 39.68, 1],
            "voxel_size": [0.16, 0.16, 4],
            "max_voxels": (16000, 40000),
        }
    },
    "voxel_encoder": {"type": "PillarFeatureNet", "in_channels": 4, "feat_channels": [64]},
    "middle_encoder": {"type": "PointPillarsScatter"},
    "backbone": {"type": "SECOND", "layer_nums": [3, 5, 5], "layer_strides": [2, 2, 2], "out_channels": [64, 128, 256]},
    "neck": {"type": "SECONDFPN", "upsample_strides": [1, 2, 4], "out_channels": [128, 128, 128]},
    "bbox_head": _kitti_head("AlignedAnchor3DRangeGenerator", (0, -39.68, 69.12, 39.68)),
    "train_cfg": _assigners((0.5, 0.35)),
    "test_cfg": _KITTI_TEST,
}
_TASKS = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)
_CENTRE_HEAD: dict[str, Any] = {
    "type": "CenterHead",
    "tasks": [{"class_names": names} for names in _TASKS],
    "common_heads": {"reg": (2, 2), "height": (1, 2), "dim": (3, 2), "rot": (2, 2), "vel": (2, 2)},
    "bbox_coder": {
        "post_center_range": [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
        "max_num": 500,
        "score_threshold": 0.1,
    },
    "separate_head": {"type": "SeparateHead", "final_kernel": 3},
    "loss_bbox": {"loss_weight": 0.25},
}
_CENTRE_TRAIN = {"pts": {"code_weights": [1.0] * 8 + [0.2, 0.2]}}
_CENTRE_TEST = {"pts": {"nms_type": "rotate", "pre_max_size": 1000, "post_max_size": 83, "nms_thr": 0.2}}


def _centerpoint(point_range: list[float], voxel_size: list[float]) -> dict[str, Any]:
    return {
        "type": "CenterPoint",
        "data_preprocessor": {
            "voxel_layer": {
                "max_num_points": 10,
                "point_cloud_range": point_range,
                "voxel_size": voxel_size,
                "max_voxels": (90000, 120000),
            }
        },
        "pts_voxel_encoder": {"type": "HardSimpleVFE", "num_features": 5},
        "pts_middle_encoder": {
            "type": "SparseEncoder",
            "encoder_channels": ((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
            "encoder_paddings": ((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
            "block_type": "basicblock",
        },
        "pts_backbone": _SECOND["backbone"],
        "pts_neck": {**_SECOND["neck"], "use_conv_for_no_stride": True},
        "pts_bbox_head": _CENTRE_HEAD,
        "train_cfg": _CENTRE_TRAIN,
        "test_cfg": _CENTRE_TEST,
    }


_NEAR = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
_PILLARS: dict[str, Any] = {
    **_centerpoint(_NEAR, [0.2, 0.2, 8]),
    "data_preprocessor": {
        "voxel_layer": {
            "max_num_points": 20,
            "point_cloud_range": _NEAR,
            "voxel_size": [0.2, 0.2, 8],
            "max_voxels": (30000, 40000),
        }
    },
    "pts_voxel_encoder": {"type": "PillarFeatureNet", "in_channels": 5, "feat_channels": [64], "legacy": False},
    "pts_middle_encoder": {"type": "PointPillarsScatter"},
    "pts_backbone": _POINTPILLARS["backbone"],
    "pts_neck": {
        "type": "SECONDFPN",
        "upsample_strides": [0.5, 1, 2],
        "out_channels": [128, 128, 128],
        "use_conv_for_no_stride": True,
    },
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "second": _SECOND,
    "pointpillars": _POINTPILLARS,
    "centerpoint": _centerpoint([-54, -54, -5.0, 54, 54, 3.0], [0.075, 0.075, 0.2]),
    "centerpoint-nuscenes-10cm": _centerpoint(_NEAR, [0.1, 0.1, 0.2]),
    "centerpoint-nuscenes-pillars": _PILLARS,
}
