"""Detectors."""

from __future__ import annotations

from perception.models.centerpoint import (
    NUSCENES_01,
    NUSCENES_PILLARS,
    WAYMO,
    WAYMO_PILLARS,
    WAYMO_PLAIN,
    CenterPoint,
    CenterPointConfig,
)
from perception.models.centerpoint import (
    SMALL as CENTERPOINT_SMALL,
)
from perception.models.dsvt import DSVT, VOXELS, DSVTConfig, DSVTNuScenes, DSVTNuScenesConfig
from perception.models.entries.entry import Entry
from perception.models.focals import (
    WAYMO_FOCALS,
    FocalsCenterPoint,
    FocalsCenterPointConfig,
    FocalsPVRCNN,
    FocalsPVRCNNConfig,
    FocalsVoxelRCNN,
    FocalsVoxelRCNNConfig,
)
from perception.models.focals_images import (
    FocalsImagePVRCNN,
    FocalsImagePVRCNNConfig,
    FocalsImageVoxelRCNN,
    FocalsImageVoxelRCNNConfig,
)
from perception.models.pointpillars import SMALL, PointPillars, PointPillarsConfig
from perception.models.pv_rcnn import PVRCNN, PVRCNNConfig
from perception.models.pv_rcnn import WAYMO as PV_RCNN_WAYMO
from perception.models.second import SECOND, SECONDConfig
from perception.models.transfusion import TransFusion, TransFusionConfig
from perception.models.voxel_rcnn import CAR, VoxelRCNN, VoxelRCNNConfig
from perception.models.voxelnext import (
    ARGOVERSE2,
    NUSCENES_KERNEL_3,
    NUSCENES_PLANAR,
    WAYMO_LARGE,
    WAYMO_PLANAR,
    VoxelNeXt,
    VoxelNeXtConfig,
)
from perception.models.voxelnext import WAYMO as VOXELNEXT_WAYMO

DETECTION: dict[str, Entry] = {
    "second": Entry(
        SECOND,
        SECONDConfig(),
        "detection",
        "SECOND (2018): sparse voxels, anchors; KITTI classes",
        {
            "openpcdet": "kitti_models/second.yaml",
            "mmdet3d": "second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py",
        },
    ),
    "pointpillars": Entry(
        PointPillars,
        PointPillarsConfig(),
        "detection",
        "PointPillars (CVPR 2019): pillars, anchors; KITTI classes",
        {
            "openpcdet": "kitti_models/pointpillar.yaml",
            "mmdet3d": "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py",
        },
    ),
    "pointpillars-small": Entry(
        PointPillars, SMALL, "detection", "PointPillars for CPUs: an eighth of the work, geometry only; KITTI classes"
    ),
    "centerpoint-small": Entry(
        CenterPoint,
        CENTERPOINT_SMALL,
        "detection",
        "CenterPoint for CPUs: occupied slices of height all round a car; KITTI classes",
    ),
    "voxel-rcnn-car": Entry(
        VoxelRCNN,
        VoxelRCNNConfig(classes=CAR),
        "detection",
        "Voxel R-CNN (AAAI 2021): SECOND's proposals refined from voxels; cars",
        {"openpcdet": "kitti_models/voxel_rcnn_car.yaml"},
    ),
    "voxel-rcnn": Entry(VoxelRCNN, VoxelRCNNConfig(), "detection", "Voxel R-CNN for KITTI classes"),
    "pv-rcnn": Entry(
        PVRCNN,
        PVRCNNConfig(),
        "detection",
        "PV-RCNN (CVPR 2020): SECOND's proposals refined from keypoints; KITTI classes",
        {"openpcdet": "kitti_models/pv_rcnn.yaml"},
    ),
    "pv-rcnn-waymo": Entry(
        PVRCNN,
        PV_RCNN_WAYMO,
        "detection",
        "PV-RCNN (CVPR 2020): SECOND's proposals refined from keypoints; Waymo classes",
        {"openpcdet": "waymo_models/pv_rcnn.yaml"},
    ),
    "focals-voxel-rcnn": Entry(
        FocalsVoxelRCNN,
        FocalsVoxelRCNNConfig(),
        "detection",
        "Voxel R-CNN with a focal convolution (CVPR 2022): important voxels grow; KITTI classes",
        {"openpcdet": "kitti_models/voxel_rcnn_multiclasses_focalsconv_lidar.yaml"},
    ),
    "focals-pv-rcnn": Entry(
        FocalsPVRCNN,
        FocalsPVRCNNConfig(),
        "detection",
        "PV-RCNN with focal convolutions (CVPR 2022): important voxels grow; KITTI classes",
        {"openpcdet": "kitti_models/pv_rcnn_focal_lidar.yaml"},
    ),
    "focals-voxel-rcnn-images": Entry(
        FocalsImageVoxelRCNN,
        FocalsImageVoxelRCNNConfig(),
        "detection",
        "Voxel R-CNN with focal convolutions that also see a camera image (CVPR 2022); KITTI classes",
        {"openpcdet": "kitti_models/voxel_rcnn_multiclasses_focalsconv.yaml"},
    ),
    "focals-voxel-rcnn-car-images": Entry(
        FocalsImageVoxelRCNN,
        FocalsImageVoxelRCNNConfig(classes=CAR),
        "detection",
        "Voxel R-CNN with focal convolutions that also see a camera image (CVPR 2022); cars",
        {"openpcdet": "kitti_models/voxel_rcnn_car_focal_multimodal.yaml"},
    ),
    "focals-pv-rcnn-images": Entry(
        FocalsImagePVRCNN,
        FocalsImagePVRCNNConfig(),
        "detection",
        "PV-RCNN with focal convolutions that also see a camera image (CVPR 2022); KITTI classes",
        {"openpcdet": "kitti_models/pv_rcnn_focal_multimodal.yaml"},
    ),
    "focals-centerpoint": Entry(
        FocalsCenterPoint,
        FocalsCenterPointConfig(),
        "detection",
        "CenterPoint with focal convolutions (CVPR 2022): important voxels grow; nuScenes classes, velocities",
        {"det3d": "SpMiddleResNetFHDFocal with USE_IMG=False"},
    ),
    "focals-centerpoint-waymo": Entry(
        FocalsCenterPoint,
        WAYMO_FOCALS,
        "detection",
        "CenterPoint with focal convolutions (CVPR 2022): important voxels grow; Waymo classes",
        {"openpcdet": "waymo_models/centerpoint_without_resnet_focal_lidar.yaml"},
    ),
    "centerpoint": Entry(
        CenterPoint,
        CenterPointConfig(),
        "detection",
        "CenterPoint (CVPR 2021): sparse voxels of 0.075 m, centres; nuScenes classes, velocities",
        {
            "openpcdet": "nuscenes_models/cbgs_voxel0075_res3d_centerpoint.yaml",
            "mmdet3d": "centerpoint/centerpoint_voxel0075_second_secfpn_8xb4-cyclic-20e_nus-3d.py",
            "det3d": "nusc/voxelnet/nusc_centerpoint_voxelnet_0075voxel_fix_bn_z.py",
        },
    ),
    "centerpoint-nuscenes-10cm": Entry(
        CenterPoint,
        NUSCENES_01,
        "detection",
        "CenterPoint (CVPR 2021): sparse voxels of 0.1 m, centres; nuScenes classes, velocities",
        {
            "openpcdet": "nuscenes_models/cbgs_voxel01_res3d_centerpoint.yaml",
            "mmdet3d": "centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py",
            "det3d": "nusc/voxelnet/nusc_centerpoint_voxelnet_01voxel.py",
        },
    ),
    "centerpoint-nuscenes-pillars": Entry(
        CenterPoint,
        NUSCENES_PILLARS,
        "detection",
        "CenterPoint (CVPR 2021): pillars without caps, centres; nuScenes classes, velocities",
        {
            "openpcdet": "nuscenes_models/cbgs_dyn_pp_centerpoint.yaml",
            "mmdet3d": "centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py",
            "det3d": "nusc/pp/nusc_centerpoint_pp_02voxel_two_pfn_10sweep.py",
        },
    ),
    "centerpoint-waymo": Entry(
        CenterPoint,
        WAYMO,
        "detection",
        "CenterPoint (CVPR 2021): sparse voxels, centres; Waymo classes",
        {
            "openpcdet": "waymo_models/centerpoint.yaml",
            "det3d": "waymo/voxelnet/waymo_centerpoint_voxelnet_3x.py",
        },
    ),
    "centerpoint-waymo-plain": Entry(
        CenterPoint,
        WAYMO_PLAIN,
        "detection",
        "CenterPoint (CVPR 2021) on SECOND's backbone, without residual blocks; Waymo classes",
        {"openpcdet": "waymo_models/centerpoint_without_resnet.yaml"},
    ),
    "centerpoint-waymo-pillars": Entry(
        CenterPoint,
        WAYMO_PILLARS,
        "detection",
        "CenterPoint (CVPR 2021): pillars, centres; Waymo classes",
        {
            "openpcdet": "waymo_models/centerpoint_pillar_1x.yaml",
            "det3d": "waymo/pp/waymo_centerpoint_pp_two_pfn_stride1_3x.py",
        },
    ),
    "voxelnext": Entry(
        VoxelNeXt,
        VoxelNeXtConfig(),
        "detection",
        "VoxelNeXt (CVPR 2023): fully sparse; nuScenes classes, velocities",
        {"openpcdet": "nuscenes_models/cbgs_voxel0075_voxelnext.yaml"},
    ),
    "voxelnext-kernel3": Entry(
        VoxelNeXt,
        NUSCENES_KERNEL_3,
        "detection",
        "VoxelNeXt (CVPR 2023): its head with kernel 3; nuScenes classes, velocities",
        {"openpcdet": "nuscenes_models/cbgs_voxel0075_voxelnext_headkernel3.yaml"},
    ),
    "voxelnext-planar": Entry(
        VoxelNeXt,
        NUSCENES_PLANAR,
        "detection",
        "VoxelNeXt (CVPR 2023): fully sparse pillars; nuScenes classes, velocities",
        {"openpcdet": "nuscenes_models/cbgs_voxel0075_voxelnext2d.yaml"},
    ),
    "voxelnext-waymo": Entry(
        VoxelNeXt,
        VOXELNEXT_WAYMO,
        "detection",
        "VoxelNeXt (CVPR 2023): fully sparse, predicted overlaps; Waymo classes",
        {"openpcdet": "waymo_models/voxelnext_ioubranch.yaml"},
    ),
    "voxelnext-waymo-large": Entry(
        VoxelNeXt,
        WAYMO_LARGE,
        "detection",
        "VoxelNeXt (CVPR 2023): four times the weights; Waymo classes",
        {"openpcdet": "waymo_models/voxelnext_ioubranch_large.yaml"},
    ),
    "voxelnext-waymo-planar": Entry(
        VoxelNeXt,
        WAYMO_PLANAR,
        "detection",
        "VoxelNeXt (CVPR 2023): fully sparse pillars; Waymo classes",
        {"openpcdet": "waymo_models/voxelnext2d_ioubranch.yaml"},
    ),
    "voxelnext-argoverse2": Entry(
        VoxelNeXt,
        ARGOVERSE2,
        "detection",
        "VoxelNeXt (CVPR 2023): fully sparse, 200 m around; Argoverse 2 classes",
        {"openpcdet": "argo2_models/cbgs_voxel01_voxelnext.yaml"},
    ),
    "dsvt-pillar": Entry(
        DSVT,
        DSVTConfig(),
        "detection",
        "DSVT (CVPR 2023): pillars in attention, centres; Waymo classes",
        {"openpcdet": "waymo_models/dsvt_pillar.yaml"},
    ),
    "dsvt-voxel": Entry(
        DSVT,
        VOXELS,
        "detection",
        "DSVT (CVPR 2023): voxels in attention, centres; Waymo classes",
        {"openpcdet": "waymo_models/dsvt_voxel.yaml"},
    ),
    "dsvt-pillar-nuscenes": Entry(
        DSVTNuScenes,
        DSVTNuScenesConfig(),
        "detection",
        "DSVT (CVPR 2023): pillars in attention, TransFusion's head; nuScenes classes, velocities",
        {"openpcdet": "dsvt_models/dsvt_plain_1f_onestage_nusences.yaml"},
    ),
    "transfusion-lidar": Entry(
        TransFusion,
        TransFusionConfig(),
        "detection",
        "TransFusion-L (CVPR 2022): sparse voxels, queries in a transformer; nuScenes classes, velocities",
        {"openpcdet": "nuscenes_models/transfusion_lidar.yaml"},
    ),
}
