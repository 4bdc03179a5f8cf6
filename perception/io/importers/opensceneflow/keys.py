"""Names of the scene flow models in OpenSceneFlow's checkpoints, and ours."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from perception.io.importers.key_rules import Rules, Turned


def _counted(before: str, after: str) -> Callable[[re.Match[str]], str]:
    """A replacement whose first group counts from 1 there and from 0 here."""
    return lambda match: f"{before}{int(match[1]) - 1}{match.expand(after)}"


SSF: Rules = (
    (r"voxel_encoder\.vfe_layers\.", "encoder.layers."),
    (r"backbone\.conv_input\.0\.", "backbone.stem.conv."),
    (r"backbone\.conv_input\.1\.", "backbone.stem.norm."),
    (r"backbone\.encoder_layers\.encoder_layer(\d+)\.(\d+)\.0\.", _counted("backbone.levels.", r".\2.conv.")),
    (r"backbone\.encoder_layers\.encoder_layer(\d+)\.(\d+)\.1\.", _counted("backbone.levels.", r".\2.norm.")),
    (r"backbone\.lateral_layer(\d+)\.conv1\.", _counted("backbone.joins.", ".lateral.first.conv.")),
    (r"backbone\.lateral_layer(\d+)\.bn1\.", _counted("backbone.joins.", ".lateral.first.norm.")),
    (r"backbone\.lateral_layer(\d+)\.conv2\.", _counted("backbone.joins.", ".lateral.second.conv.")),
    (r"backbone\.lateral_layer(\d+)\.bn2\.", _counted("backbone.joins.", ".lateral.second.norm.")),
    (r"backbone\.merge_layer(\d+)\.0\.", _counted("backbone.joins.", ".merge.conv.")),
    (r"backbone\.merge_layer(\d+)\.1\.", _counted("backbone.joins.", ".merge.norm.")),
    # The finest level ends in a submanifold convolution; the others lead to the level below them.
    (r"backbone\.upsample_layer1\.0\.", "backbone.out.conv."),
    (r"backbone\.upsample_layer1\.1\.", "backbone.out.norm."),
    (r"backbone\.upsample_layer(\d+)\.0\.", lambda m: f"backbone.ups.{int(m[1]) - 2}.conv."),
    (r"backbone\.upsample_layer(\d+)\.1\.", lambda m: f"backbone.ups.{int(m[1]) - 2}.norm."),
    (r"head\.offset_encoder\.", "head.offset."),
    (r"head\.decoder\.0\.", "head.mlp.hidden."),
    (r"head\.decoder\.2\.", "head.mlp.out."),
)

DENSE: Rules = (
    (r"embedder\.feature_net\.pfn_layers\.0\.0\.", "encoder.layer.linear."),
    (r"embedder\.feature_net\.pfn_layers\.0\.1\.", "encoder.layer.norm."),
    (r"backbone\.encoder_step_(\d+)\.(\d+)\.conv\.", _counted("backbone.encoder.", r".\2.conv.")),
    (r"backbone\.encoder_step_(\d+)\.(\d+)\.batchnorm\.", _counted("backbone.encoder.", r".\2.norm.")),
    (r"backbone\.decoder_step(\d+)\.u1_u2\.0\.", _counted("backbone.decoder.", ".reduce.")),
    (r"backbone\.decoder_step(\d+)\.u3\.", _counted("backbone.decoder.", ".skip.")),
    (r"backbone\.decoder_step(\d+)\.u4_u5\.0\.", _counted("backbone.decoder.", ".first.")),
    (r"backbone\.decoder_step(\d+)\.u4_u5\.1\.", _counted("backbone.decoder.", ".second.")),
    (r"backbone\.decoder_step4\.", "backbone.out."),
    (r"head\.offset_encoder\.", "head.offset."),
)


def _pointwise(weight: Tensor) -> Tensor:
    """A convolution of kernel 1 over a row of points, (out, in, 1), is a linear layer (out, in)."""
    return weight.squeeze(-1)


DEFLOW: Rules = (
    Turned(r"head\.gru\.convz\.weight", "head.update.weight", _pointwise),
    Turned(r"head\.gru\.convr\.weight", "head.reset.weight", _pointwise),
    Turned(r"head\.gru\.convq\.weight", "head.candidate.weight", _pointwise),
    (r"head\.gru\.convz\.", "head.update."),
    (r"head\.gru\.convr\.", "head.reset."),
    (r"head\.gru\.convq\.", "head.candidate."),
    (r"head\.decoder\.", "head.mlp."),
    *DENSE,
)

FASTFLOW3D: Rules = (
    (r"head\.decoder\.0\.", "head.mlp.hidden."),
    (r"head\.decoder\.2\.", "head.mlp.out."),
    *DENSE,
)


def _prefixed(rules: Rules) -> Rules:
    """The same rules for keys of Lightning's checkpoints too, which begin with ``model.``"""
    return tuple(
        Turned(rf"(?:model\.)?{rule.pattern}", *rule[1:])
        if isinstance(rule, Turned)
        else (rf"(?:model\.)?{rule[0]}", rule[1])
        for rule in rules
    )


RULES: dict[str, Rules] = {
    "ssf": _prefixed(SSF),
    "ssf-long": _prefixed(SSF),
    "deflow": _prefixed(DEFLOW),
    "fastflow3d": _prefixed(FASTFLOW3D),
}
