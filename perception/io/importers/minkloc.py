"""Checkpoints of MinkLoc3Dv2 (jac99/MinkLoc3Dv2, MIT licence): a state_dict of MinkowskiEngine's layers.

MinkowskiEngine counts the taps of a kernel with x fastest: (taps, in, out), or (in, out) where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers.key_rules import Rules, Turned
from perception.io.importers.plan import Plan, configured

NAME = "minkloc3dv2"


def minkowski_kernel(kernel: Tensor) -> Tensor:
    """(k^3, in, out) with x fastest -> (out, kz, ky, kx, in)."""
    size = round(len(kernel) ** (1 / 3))
    return kernel.view(size, size, size, *kernel.shape[1:]).permute(4, 0, 1, 2, 3).contiguous()


def pointwise_kernel(kernel: Tensor) -> Tensor:
    """(in, out) -> (out, in)."""
    return kernel.T.contiguous()


_BLOCK = r"backbone\.blocks\.(\d+)\.0\."
_HALVES = {"1": "first", "2": "second"}

MINKLOC: Rules = (
    Turned(r"backbone\.conv0\.kernel", "backbone.stem.conv.weight", minkowski_kernel),
    (r"backbone\.bn0\.bn\.", "backbone.stem.norm."),
    Turned(r"backbone\.convs\.(\d+)\.kernel", r"backbone.downs.\1.conv.weight", minkowski_kernel),
    (r"backbone\.bn\.(\d+)\.bn\.", r"backbone.downs.\1.norm."),
    Turned(
        _BLOCK + r"conv([12])\.kernel",
        lambda match: f"backbone.blocks.{match[1]}.{_HALVES[match[2]]}.conv.weight",
        minkowski_kernel,
    ),
    (_BLOCK + r"norm([12])\.bn\.", lambda match: f"backbone.blocks.{match[1]}.{_HALVES[match[2]]}.norm."),
    (_BLOCK + r"eca\.conv\.", r"backbone.blocks.\1.channels.conv."),
    Turned(_BLOCK + r"downsample\.0\.kernel", r"backbone.blocks.\1.shortcut.linear.weight", pointwise_kernel),
    (_BLOCK + r"downsample\.1\.bn\.", r"backbone.blocks.\1.shortcut.norm."),
    Turned(r"backbone\.conv1x1\.(\d+)\.kernel", r"backbone.laterals.\1.weight", pointwise_kernel),
    Turned(r"backbone\.tconvs\.(\d+)\.kernel", r"backbone.ups.\1.weight", minkowski_kernel),
    (r"pooling\.pooling\.p$", "head.exponent"),
)


def plan(
    state: Mapping[str, Tensor],
    name: str | None,
    config: Path | None,
    where: str,
    meta: Mapping[str, Any] | None = None,
) -> Plan:
    """``config``: a YAML of what differs from the catalogue's configuration."""
    if name not in (None, NAME) or "backbone.conv0.kernel" not in state:
        raise PerceptionError(
            f"{where} as {name or NAME}", f"a checkpoint of {NAME}, which has the key backbone.conv0.kernel"
        )
    made = configured(NAME, {}, where)
    made = merge(made, read_yaml(config), str(config)) if config else made
    return Plan("minkloc", NAME, made, MINKLOC)
