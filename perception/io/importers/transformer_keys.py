"""Official names of DSVT's and TransFusion's parts, as OpenPCDet and the DSVT repository have them."""

from __future__ import annotations

from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned


def _unfolded(weight: Tensor) -> Tensor:
    """Convolutions over a list of queries have kernels of one: linear layers here."""
    return weight.flatten(1)


def _turned(kernel: Tensor) -> Tensor:
    """DSVT's nuScenes head works on the map with x down and y across."""
    return kernel.transpose(2, 3).contiguous()


POSITION = {"0": "first", "1": "norm", "3": "second"}
_STAGE, _LAYER = r"backbone_3d\.stage_(\d+)", r"backbone_3d\.stage_(\d+)\.(\d+)\.encoder_list\.(\d)"
_SETS = r"backbone.stages.\1.blocks.\2.layers.\3."
DSVT: Rules = (
    (r"vfe\.pfn_layers\.", "encoder.layers."),
    (
        r"backbone_3d\.input_layer\.posembed_layers\.(\d+)\.(\d+)\.(\d)\.position_embedding_head\.(\d)",
        lambda m: f"backbone.stages.{m[1]}.blocks.{m[2]}.positions.{m[3]}.{POSITION[m[4]]}",
    ),
    (_LAYER + r"\.win_attn\.self_attn\.in_proj_", _SETS + "attention.attention.project."),
    (_LAYER + r"\.win_attn\.self_attn\.out_proj", _SETS + "attention.attention.out"),
    (_LAYER + r"\.win_attn\.", _SETS + "attention."),
    (_LAYER + r"\.norm\.", _SETS + "norm."),
    (r"backbone_3d\.residual_norm_stage_(\d+)\.(\d+)\.", r"backbone.stages.\1.blocks.\2.norm."),
    (_STAGE + r"_reduction\.pos_embedding", r"backbone.stages.\1.pool.position"),
    (_STAGE + r"_reduction\.self_attn\.", r"backbone.stages.\1.pool.attention."),
    (_STAGE + r"_reduction\.norm\.", r"backbone.stages.\1.pool.norm."),
    (r"backbone_2d\.blocks\.(\d+)\.(\d+)\.bn([12])\.", r"bev.blocks.\1.\2.norm\3."),
    (r"backbone_2d\.blocks\.(\d+)\.(\d+)\.downsample_layer\.", r"bev.blocks.\1.\2.shortcut."),
    (r"backbone_2d\.blocks\.", "bev.blocks."),
    (r"backbone_2d\.deblocks\.", "bev.ups."),
)

BRANCHES = {
    "center": "centre",
    "height": "height",
    "dim": "size",
    "rot": "rotation",
    "vel": "velocity",
    "iou": "overlap",
    "heatmap": "score",
}
_EMBEDDING = r"dense_head\.decoder\.(self|cross)_posembed\.position_embedding_head\.(\d)\."
_ATTENTION = {"self_attn": "self_attention", "multihead_attn": "cross_attention"}
TRANSFUSION_HEAD: Rules = (
    (r"dense_head\.shared_conv\.", "head.shared."),
    (r"dense_head\.heatmap_head\.0\.conv\.", "head.heatmap.0."),
    (r"dense_head\.heatmap_head\.0\.bn\.", "head.heatmap.1."),
    (r"dense_head\.heatmap_head\.1\.", "head.heatmap.3."),
    Turned(r"dense_head\.class_encoding\.weight", "head.class_encoding.weight", _unfolded),
    Turned(
        _EMBEDDING + r"(?=weight)(?<!1\.)",
        lambda m: f"head.decoder.{m[1]}_position.{POSITION[m[2]]}.",
        _unfolded,
    ),
    (_EMBEDDING, lambda m: f"head.decoder.{m[1]}_position.{POSITION[m[2]]}."),
    (
        r"dense_head\.decoder\.(\w+_attn)\.(in_proj_|out_proj\.)",
        lambda m: f"head.decoder.{_ATTENTION[m[1]]}.{'project' if m[2] == 'in_proj_' else 'out'}.",
    ),
    Turned(
        r"dense_head\.prediction_head\.(\w+)\.(0\.0|1)\.weight",
        lambda m: f"head.branches.{BRANCHES[m[1]]}.{'3' if m[2] == '1' else '0'}.weight",
        _unfolded,
    ),
    (r"dense_head\.prediction_head\.(\w+)\.0\.([01])\.", lambda m: f"head.branches.{BRANCHES[m[1]]}.{m[2]}."),
    (r"dense_head\.prediction_head\.(\w+)\.1\.", lambda m: f"head.branches.{BRANCHES[m[1]]}.3."),
    (r"dense_head\.", "head."),
)
TURNED_TRANSFUSION_HEAD: Rules = (
    Turned(r"dense_head\.shared_conv\.weight", "head.shared.weight", _turned),
    Turned(r"dense_head\.heatmap_head\.0\.conv\.weight", "head.heatmap.0.weight", _turned),
    Turned(r"dense_head\.heatmap_head\.1\.weight", "head.heatmap.3.weight", _turned),
    *TRANSFUSION_HEAD,
)
