"""Names and layouts of HOTFormerLoc's checkpoints, and ours.

ocnn counts the taps of a kernel with x slowest and z fastest: (taps, in, out), depthwise (27, 1, channels).
"""

from __future__ import annotations

import re

from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned


def sparse_kernel(weights: Tensor) -> Tensor:
    """(27 or 8, in, out) with z fastest -> (out, kz, ky, kx, in)."""
    size = round(len(weights) ** (1 / 3))
    return weights.view(size, size, size, *weights.shape[1:]).permute(4, 2, 1, 0, 3).contiguous()


def depthwise_kernel(weights: Tensor) -> Tensor:
    """(27, 1, channels) with z fastest -> (channels, kz, ky, kx)."""
    return weights.view(3, 3, 3, weights.shape[-1]).permute(3, 2, 1, 0).contiguous()


_STEM = r"backbone\.backbone\.patch_embed\."
_LOCAL = r"backbone\.backbone\.octf_stage\.0\.blocks\.(\d+)\."
_LEVEL = r"backbone\.backbone\.hotf_stage\.hosa_blocks\.(\d+)\.(\d+)\."
_RELAY = r"backbone\.backbone\.hotf_stage\.rtsa_blocks\.(\d+)\."
_STAGE = r"backbone\.backbone\.hotf_stage\."
_MIXER = r"pooling\.pooling\.descriptor_extractor\."

_PARTS = {
    "attention.qkv": "attention.project",
    "attention.proj": "attention.out",
    "mlp.fc1": "mlp.first",
    "mlp.fc2": "mlp.second",
    "cpe.norm": "position.norm",
}


def _block(pattern: str, ours: str) -> Rules:
    """The rules of a block whose keys begin with ``pattern``, which becomes ``ours``."""
    return (
        Turned(pattern + r"cpe\.conv\.weights", ours + "position.conv.weight", depthwise_kernel),
        (pattern + r"attention\.rpe\.rpe_table", ours + "attention.table"),
        *((pattern + re.escape(theirs) + r"\.", f"{ours}{part}.") for theirs, part in _PARTS.items()),
        (pattern, ours),
    )


HOTFORMERLOC: Rules = (
    Turned(_STEM + r"convs\.(\d+)\.conv\.weights", r"backbone.stem.convs.\1.conv.weight", sparse_kernel),
    Turned(_STEM + r"downsamples\.(\d+)\.conv\.weights", r"backbone.stem.downs.\1.conv.weight", sparse_kernel),
    Turned(_STEM + r"proj\.conv\.weights", "backbone.stem.out.conv.weight", sparse_kernel),
    (_STEM + r"convs\.", "backbone.stem.convs."),
    (_STEM + r"downsamples\.", "backbone.stem.downs."),
    (_STEM + r"proj\.", "backbone.stem.out."),
    *_block(_LOCAL, r"backbone.local.blocks.\1."),
    Turned(r"backbone\.backbone\.downsample\.0\.conv\.weights", "backbone.down.conv.weight", sparse_kernel),
    (r"backbone\.backbone\.downsample\.0\.", "backbone.down."),
    *_block(_LEVEL, r"backbone.pyramid.levels.\1.\2."),
    (_RELAY + r"rt_attention\.qkv\.", r"backbone.pyramid.relays.\1.project."),
    (_RELAY + r"rt_attention\.proj\.", r"backbone.pyramid.relays.\1.out."),
    (_RELAY + r"mlp\.fc1\.", r"backbone.pyramid.relays.\1.mlp.first."),
    (_RELAY + r"mlp\.fc2\.", r"backbone.pyramid.relays.\1.mlp.second."),
    (_RELAY, r"backbone.pyramid.relays.\1."),
    Turned(_STAGE + r"downsamples\.(\d+)\.conv\.weights", r"backbone.pyramid.downs.\1.conv.weight", sparse_kernel),
    (_STAGE + r"downsamples\.", "backbone.pyramid.downs."),
    (_STAGE + r"rt_adape\.mlp\.fc1\.", "backbone.pyramid.tokens.distribution.first."),
    (_STAGE + r"rt_adape\.mlp\.fc2\.", "backbone.pyramid.tokens.distribution.second."),
    Turned(
        _STAGE + r"relay_tokeniser\.cpe\.conv\.weights",
        "backbone.pyramid.tokens.position.conv.weight",
        depthwise_kernel,
    ),
    (_STAGE + r"relay_tokeniser\.cpe\.", "backbone.pyramid.tokens.position."),
    (r"pooling\.pooling\.attpool\.", "head.attention."),
    (_MIXER + r"mix\.(\d+)\.mix\.0\.", r"head.mixers.\1.norm."),
    (_MIXER + r"mix\.(\d+)\.mix\.1\.", r"head.mixers.\1.first."),
    (_MIXER + r"mix\.(\d+)\.mix\.3\.", r"head.mixers.\1.second."),
    (_MIXER + r"channel_proj\.", "head.tokens."),
    (_MIXER + r"row_proj\.", "head.channels."),
)
