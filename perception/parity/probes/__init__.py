"""How each family of detectors shows what the stored files hold: one probe a family, by catalogue name."""

from __future__ import annotations

from perception.parity.probes.anchor import AnchorProbe
from perception.parity.probes.base import Probe
from perception.parity.probes.centre import CentreProbe, SparseCentreProbe
from perception.parity.probes.dsvt import DSVT, DSVTProbe, block_paths
from perception.parity.probes.focals import FocalCentreProbe, FocalTwoStageProbe, importance_paths
from perception.parity.probes.keypoints import KeypointProbe
from perception.parity.probes.paths import BEV, SPARSE_ENCODER
from perception.parity.probes.transfusion import TransFusionProbe
from perception.parity.probes.two_stage import TwoStageProbe

_centerpoint = CentreProbe({**SPARSE_ENCODER, "spatial_features": "flatten", **BEV})
_centerpoint_pillars = CentreProbe({"vfe": "encoder", "spatial_features": "flatten", **BEV})
_two_stage = TwoStageProbe({**SPARSE_ENCODER, "spatial_features": "flatten", **BEV})
_focals = {**_two_stage.paths, **importance_paths((1,))}

_voxelnext = SparseCentreProbe(
    {
        "vfe": "encoder",
        "x_conv1": "backbone.stage1",
        "x_conv2": "backbone.stage2",
        "x_conv3": "backbone.stage3",
        "module.conv4": "backbone.stage4",
        "module.conv5": "backbone.stage5",
        "module.conv6": "backbone.stage6",
        "encoded": "backbone",
    }
)

PROBES: dict[str, Probe] = {
    "second": AnchorProbe({**SPARSE_ENCODER, "spatial_features": "flatten", **BEV}),
    "pointpillars": AnchorProbe({"vfe": "encoder", "spatial_features": "scatter", **BEV}),
    "voxel-rcnn-car": _two_stage,
    "pv-rcnn": _two_stage,
    "pv-rcnn-waymo": _two_stage,
    "focals-voxel-rcnn": FocalTwoStageProbe(_focals),
    "focals-pv-rcnn": FocalTwoStageProbe({**_focals, **importance_paths((2, 3))}),
    "focals-centerpoint-waymo": FocalCentreProbe({**_centerpoint.paths, **importance_paths((1, 2, 3))}),
    "centerpoint": _centerpoint,
    "centerpoint-nuscenes-10cm": _centerpoint,
    "centerpoint-nuscenes-pillars": _centerpoint_pillars,
    "centerpoint-waymo": _centerpoint,
    "centerpoint-waymo-plain": _centerpoint,
    "centerpoint-waymo-pillars": _centerpoint_pillars,
    **{
        f"voxelnext{variant}": _voxelnext
        for variant in ("", "-kernel3", "-planar", "-waymo", "-waymo-large", "-waymo-planar", "-argoverse2")
    },
    "voxelkp": KeypointProbe({**_voxelnext.paths, "x_conv4": "backbone.stage4"}),
    "transfusion-lidar": TransFusionProbe({**SPARSE_ENCODER, "spatial_features": "flatten", **BEV}),
    "dsvt-pillar": DSVTProbe({**DSVT, **block_paths((4,))}),
    "dsvt-voxel": DSVTProbe({**DSVT, **block_paths((1, 1, 1, 1))}),
    "dsvt-pillar-nuscenes": TransFusionProbe({**DSVT, **block_paths((4,))}),
}

__all__ = ["PROBES", "Probe"]
