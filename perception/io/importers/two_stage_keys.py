"""Official names of the second stages of Voxel R-CNN and PV-RCNN, and ours.

Convolutions of kernel 1 are linear layers here.
"""

from __future__ import annotations

from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned


def _matrix(weight: Tensor) -> Tensor:
    """The weight of a convolution of kernel 1 as that of a linear layer; anything else as it is."""
    return weight.flatten(1) if weight.ndim > 1 else weight


def _points_first(weight: Tensor) -> Tensor:
    """(out, channels x 216) as (out, 216 x channels): ours takes the features of a grid point together."""
    return weight.view(len(weight), -1, 216).transpose(1, 2).flatten(1) if weight.ndim > 1 else weight


VOXEL_ROI: Rules = (
    Turned(r"roi_head\.roi_grid_pool_layers\.(\d)\.mlps_in\.0\.0\.", r"roi.pools.\1.inner.", _matrix),
    Turned(r"roi_head\.roi_grid_pool_layers\.(\d)\.mlps_pos\.0\.0\.", r"roi.pools.\1.position.", _matrix),
    Turned(r"roi_head\.roi_grid_pool_layers\.(\d)\.mlps_out\.0\.0\.", r"roi.pools.\1.outer.", _matrix),
    (r"roi_head\.roi_grid_pool_layers\.(\d)\.mlps_in\.0\.1\.", r"roi.pools.\1.inner_norm."),
    (r"roi_head\.roi_grid_pool_layers\.(\d)\.mlps_pos\.0\.1\.", r"roi.pools.\1.position_norm."),
    (r"roi_head\.roi_grid_pool_layers\.(\d)\.mlps_out\.0\.1\.", r"roi.pools.\1.outer_norm."),
    (r"roi_head\.shared_fc_layer\.", "roi.refine.shared."),
    (r"roi_head\.cls_fc_layers\.", "roi.refine.score."),
    (r"roi_head\.reg_fc_layers\.", "roi.refine.residual."),
    (r"roi_head\.cls_pred_layer\.", "roi.refine.score_out."),
    (r"roi_head\.reg_pred_layer\.", "roi.refine.residual_out."),
)
_BALL_LAYERS = {"0": "first", "1": "first_norm", "3": "second", "4": "second_norm"}
KEYPOINTS: Rules = (
    Turned(
        r"pfe\.SA_layers\.(\d)\.mlps\.(\d)\.(\d)\.",
        lambda m: f"abstraction.stages.{m[1]}.balls.{m[2]}.{_BALL_LAYERS[m[3]]}.",
        _matrix,
    ),
    Turned(
        r"pfe\.SA_rawpoints\.mlps\.(\d)\.(\d)\.",
        lambda m: f"abstraction.raw.balls.{m[1]}.{_BALL_LAYERS[m[2]]}.",
        _matrix,
    ),
    (r"pfe\.vsa_point_feature_fusion\.", "abstraction.fusion."),
    (r"point_head\.cls_layers\.", "point_head.layers."),
    Turned(
        r"roi_head\.roi_grid_pool_layer\.mlps\.(\d)\.(\d)\.",
        lambda m: f"roi.pool.balls.{m[1]}.{_BALL_LAYERS[m[2]]}.",
        _matrix,
    ),
    Turned(r"roi_head\.shared_fc_layer\.0\.", "roi.refine.shared.0.", _points_first),
    Turned(r"roi_head\.shared_fc_layer\.", "roi.refine.shared.", _matrix),
    Turned(r"roi_head\.cls_layers\.7\.", "roi.refine.score_out.", _matrix),
    Turned(r"roi_head\.reg_layers\.7\.", "roi.refine.residual_out.", _matrix),
    Turned(r"roi_head\.cls_layers\.", "roi.refine.score.", _matrix),
    Turned(r"roi_head\.reg_layers\.", "roi.refine.residual.", _matrix),
)
