"""Official names of VoxelKP's selective kernels, attention and ground convolutions; the rest is VoxelNeXt's."""

from __future__ import annotations

import re

from perception.io.importers.key_rules import Rules

_SELECTIVE = {
    "conv1": "near.conv",
    "bn1": "near.norm",
    "conv2": "wide.conv",
    "bn2": "wide.norm",
    "squeeze.0": "squeeze",
    "squeeze.1": "squeeze_norm",
    "excitation3": "excite_near",
    "excitation5": "excite_wide",
}
_ATTENTION = {
    "attn.attn.q": "query",
    "attn.attn.k": "key",
    "attn.attn.v": "value",
    "attn.attn.proj": "out",
    "norm1.ln": "attention_norm",
    "norm2.ln": "feed_norm",
    "mlp.0": "feed.0",
    "mlp.2": "feed.2",
}
_CONVOLUTION = {"conv1": "first.conv", "bn1": "first.norm", "conv2": "second.conv", "bn2": "second.norm"}
_STAGE = r"backbone_3d\.conv(\d)\.1\."
_BLOCK = _STAGE + r"voxel_conv\.(\d)\."


def _any(names: dict[str, str]) -> str:
    return "(" + "|".join(re.escape(name) for name in names) + r")\."


def _pointwise(match: re.Match[str]) -> str:
    """Layers are counted with the ReLU after every linear layer and its normalisation."""
    layer, kind = divmod(int(match[2]), 3)
    return f"backbone.stage{match[1]}.1.pointwise.{('linear', 'norm')[kind]}.{layer}."


HYBRID_STAGES: Rules = (
    (_STAGE + r"point_conv\.(\d)\.", _pointwise),
    (
        _BLOCK + r"sk\." + _any(_SELECTIVE),
        lambda m: f"backbone.stage{m[1]}.1.blocks.{m[2]}.selective.{_SELECTIVE[m[3]]}.",
    ),
    (_BLOCK + _any(_ATTENTION), lambda m: f"backbone.stage{m[1]}.1.blocks.{m[2]}.{_ATTENTION[m[3]]}."),
    (_BLOCK + _any(_CONVOLUTION), lambda m: f"backbone.stage{m[1]}.1.blocks.{m[2]}.{_CONVOLUTION[m[3]]}."),
    (r"backbone_3d\.conv([456])_bev\.0\.", lambda m: f"backbone.grounds.{int(m[1]) - 4}.conv."),
    (r"backbone_3d\.conv([456])_bev\.1\.", lambda m: f"backbone.grounds.{int(m[1]) - 4}.norm."),
)
