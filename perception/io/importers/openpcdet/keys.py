"""Official names of OpenPCDet's model parts and ours, by catalogue name."""

from __future__ import annotations

import re

from perception.io.importers.focal_keys import FOCAL_CONV, IMAGE_FOCAL_CONV
from perception.io.importers.key_rules import Rules, Turned, translate
from perception.io.importers.transformer_keys import DSVT, TRANSFUSION_HEAD, TURNED_TRANSFUSION_HEAD
from perception.io.importers.two_stage_keys import KEYPOINTS, VOXEL_ROI
from perception.io.importers.voxelkp_keys import HYBRID_STAGES
from perception.io.importers.voxelnext_keys import HEAD, KERNEL_3_HEAD, POINTWISE_HEAD, SHARED, branch

__all__ = ["RULES", "Rules", "Turned", "translate"]

# Official names number the padding layer in front of each block's first convolution; ours has none.
BEV: Rules = (
    (r"backbone_2d\.blocks\.(\d+)\.(\d+)\.", lambda m: f"bev.blocks.{m[1]}.{int(m[2]) - 1}."),
    (r"backbone_2d\.deblocks\.", "bev.ups."),
)
ANCHOR_HEAD: Rules = (
    (r"dense_head\.conv_cls\.", "head.score."),
    (r"dense_head\.conv_box\.", "head.residual."),
    (r"dense_head\.conv_dir_cls\.", "head.direction."),
)
SPARSE_ENCODER: Rules = (
    (r"backbone_3d\.conv_input\.0\.", "backbone.stem.conv."),
    (r"backbone_3d\.conv_input\.1\.", "backbone.stem.norm."),
    (r"backbone_3d\.conv_out\.0\.", "backbone.out.conv."),
    (r"backbone_3d\.conv_out\.1\.", "backbone.out.norm."),
    (r"backbone_3d\.conv(\d)\.(\d)\.0\.", r"backbone.stage\1.\2.conv."),
    (r"backbone_3d\.conv(\d)\.(\d)\.1\.", r"backbone.stage\1.\2.norm."),
)
FOCAL_ENCODER: Rules = FOCAL_CONV + SPARSE_ENCODER
IMAGE_FOCAL_ENCODER: Rules = IMAGE_FOCAL_CONV + FOCAL_ENCODER
SPARSE_RESNET: Rules = (
    (r"backbone_3d\.conv(\d)\.(\d)\.(conv|bn)([12])\.", lambda m: f"backbone.stage{m[1]}.{m[2]}.{_half(m)}."),
    *SPARSE_ENCODER,
)
STACKED_PILLARS: Rules = ((r"vfe\.pfn_layers\.", "encoder.layers."),)
# Each branch is (convolution, normalisation, ReLU), convolution; ours is one sequence of the four.
CENTRE_HEAD: Rules = (
    (r"dense_head\.shared_conv\.", "head.shared."),
    (HEAD + r"0\.([01])\.", lambda m: f"{branch(m)}{m[3]}."),
    (HEAD + r"1\.", lambda m: f"{branch(m)}3."),
)
PILLAR_ENCODER: Rules = ((r"vfe\.pfn_layers\.0\.", "encoder."),)

VOXELNEXT: Rules = SHARED + SPARSE_RESNET
CENTERPOINT: Rules = SPARSE_RESNET + BEV + CENTRE_HEAD
CENTERPOINT_PILLARS: Rules = STACKED_PILLARS + BEV + CENTRE_HEAD

RULES: dict[str, Rules] = {
    "second": SPARSE_ENCODER + BEV + ANCHOR_HEAD,
    "pointpillars": PILLAR_ENCODER + BEV + ANCHOR_HEAD,
    "voxel-rcnn-car": SPARSE_ENCODER + BEV + ANCHOR_HEAD + VOXEL_ROI,
    "voxel-rcnn": SPARSE_ENCODER + BEV + ANCHOR_HEAD + VOXEL_ROI,
    "pv-rcnn": SPARSE_ENCODER + BEV + ANCHOR_HEAD + KEYPOINTS,
    "pv-rcnn-waymo": SPARSE_ENCODER + BEV + ANCHOR_HEAD + KEYPOINTS,
    "focals-voxel-rcnn": FOCAL_ENCODER + BEV + ANCHOR_HEAD + VOXEL_ROI,
    "focals-pv-rcnn": FOCAL_ENCODER + BEV + ANCHOR_HEAD + KEYPOINTS,
    "focals-voxel-rcnn-images": IMAGE_FOCAL_ENCODER + BEV + ANCHOR_HEAD + VOXEL_ROI,
    "focals-voxel-rcnn-car-images": IMAGE_FOCAL_ENCODER + BEV + ANCHOR_HEAD + VOXEL_ROI,
    "focals-pv-rcnn-images": IMAGE_FOCAL_ENCODER + BEV + ANCHOR_HEAD + KEYPOINTS,
    "focals-centerpoint-waymo": FOCAL_ENCODER + BEV + CENTRE_HEAD,
    "centerpoint": CENTERPOINT,
    "centerpoint-nuscenes-10cm": CENTERPOINT,
    "centerpoint-nuscenes-pillars": CENTERPOINT_PILLARS,
    "centerpoint-waymo": CENTERPOINT,
    "centerpoint-waymo-plain": SPARSE_ENCODER + BEV + CENTRE_HEAD,
    "centerpoint-waymo-pillars": CENTERPOINT_PILLARS,
    "voxelnext": VOXELNEXT + POINTWISE_HEAD,
    "voxelnext-kernel3": VOXELNEXT + KERNEL_3_HEAD,
    "voxelnext-planar": STACKED_PILLARS + VOXELNEXT + POINTWISE_HEAD,
    "voxelnext-waymo": VOXELNEXT + KERNEL_3_HEAD,
    "voxelnext-waymo-large": VOXELNEXT + KERNEL_3_HEAD,
    "voxelnext-waymo-planar": STACKED_PILLARS + VOXELNEXT + KERNEL_3_HEAD,
    "voxelnext-argoverse2": VOXELNEXT + POINTWISE_HEAD,
    "voxelkp": HYBRID_STAGES + VOXELNEXT + KERNEL_3_HEAD,
    "transfusion-lidar": SPARSE_RESNET + BEV + TRANSFUSION_HEAD,
    "dsvt-pillar": DSVT + CENTRE_HEAD,
    "dsvt-voxel": DSVT + CENTRE_HEAD,
    "dsvt-pillar-nuscenes": DSVT + TURNED_TRANSFUSION_HEAD,
}


def _half(block: re.Match[str]) -> str:
    """Our name of a residual block's part: its two convolutions, each with its normalisation."""
    return f"{'first' if block[4] == '1' else 'second'}.{'conv' if block[3] == 'conv' else 'norm'}"
