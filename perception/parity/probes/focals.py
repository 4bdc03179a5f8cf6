"""Detectors with focal convolutions: also their predicted importances, with the merge that a file was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perception.parity.probes.base import Probe
from perception.parity.probes.centre import CentreProbe
from perception.parity.probes.two_stage import TwoStageProbe


def importance_paths(stages: tuple[int, ...]) -> dict[str, str]:
    """Official stage name -> ours; the focal convolution comes after one layer of stage 1 and three of the others."""
    last = {1: 1, 2: 3, 3: 3}
    return {f"imp.backbone_3d.conv{n}.{last[n]}.conv_imp": f"backbone.stage{n}.{last[n]}.importance" for n in stages}


class FocalProbe(Probe):
    def configure(self, defaults: Any, meta: Mapping[str, Any]) -> Any:
        merge = meta.get("merge", defaults.focal.merge)
        return replace(super().configure(defaults, meta), focal=replace(defaults.focal, merge=merge))


class FocalTwoStageProbe(FocalProbe, TwoStageProbe):
    pass


class FocalCentreProbe(FocalProbe, CentreProbe):
    pass
