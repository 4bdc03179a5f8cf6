"""How each family of detectors shows what the stored files hold: one probe a family, by catalogue name."""

from __future__ import annotations

from perception.parity.probes.anchor import AnchorProbe
from perception.parity.probes.base import Probe
from perception.parity.probes.paths import ANCHOR_HEAD, SPARSE_ENCODER

PROBES: dict[str, Probe] = {
    "second": AnchorProbe({**SPARSE_ENCODER, "spatial_features": "flatten", **ANCHOR_HEAD}),
    "pointpillars": AnchorProbe({"vfe": "encoder", "spatial_features": "scatter", **ANCHOR_HEAD}),
}

__all__ = ["PROBES", "Probe"]
