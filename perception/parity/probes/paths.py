"""Official stage name -> the submodule of ours that computes it, for parts that several models share."""

from __future__ import annotations

BEV = {"spatial_features_2d": "bev"}
SPARSE_ENCODER = {
    "vfe": "encoder",
    "x_conv1": "backbone.stage1",
    "x_conv2": "backbone.stage2",
    "x_conv3": "backbone.stage3",
    "x_conv4": "backbone.stage4",
    "encoded": "backbone.out",
}
