"""Info files as OpenPCDet and mmdet3d make them, from the made nuScenes and from KITTI texts, by code of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from nuscenes_files import Written
from scipy.spatial.transform import Rotation

KNOWN = {
    "human.pedestrian.adult": "pedestrian",
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic_cone",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.motorcycle": "motorcycle",
}
ORDER = (
    "car",
    "truck",
    "trailer",
    "bus",
    "construction_vehicle",
    "bicycle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "barrier",
)


class Tables:
    """The made tables as dicts by token."""

    def __init__(self, written: Written) -> None:
        folder = written.root / written.version
        for name in ("sample_data", "ego_pose", "calibrated_sensor", "sample"):
            setattr(self, name, {r["token"]: r for r in json.loads((folder / f"{name}.json").read_text())})

    def key(self, sample: str) -> dict[str, Any]:
        found = [
            r
            for r in self.sample_data.values()  # type: ignore[attr-defined]
            if r["sample_token"] == sample and r["is_key_frame"] and "LIDAR_TOP" in r["filename"]
        ]
        return dict(found[0])

    def ego(self, record: dict[str, Any]) -> dict[str, Any]:
        return dict(self.ego_pose[record["ego_pose_token"]])  # type: ignore[attr-defined]

    def sensor(self, record: dict[str, Any]) -> dict[str, Any]:
        return dict(self.calibrated_sensor[record["calibrated_sensor_token"]])  # type: ignore[attr-defined]

    def before(self, record: dict[str, Any]) -> dict[str, Any] | None:
        return self.sample_data.get(record["prev"])  # type: ignore[attr-defined]

    def to_global(self, record: dict[str, Any]) -> np.ndarray:
        return matrix(self.ego(record)) @ matrix(self.sensor(record))


def matrix(pose: dict[str, Any]) -> np.ndarray:
    w, x, y, z = pose["rotation"]
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    result[:3, 3] = pose["translation"]
    return result


def labels(written: Written, identifier: str) -> dict[str, np.ndarray]:
    found = written.samples[identifier]["labels"]
    found = [item for item in found if item["thing"].points + item["thing"].radar > 0]
    return {
        "boxes": np.array([item["box"] for item in found]),
        "velocity": np.array([item["velocity"] for item in found]),
        "names": np.array([KNOWN.get(item["thing"].category, item["thing"].category) for item in found]),
        "lidar": np.array([item["thing"].points for item in found]),
        "radar": np.array([item["thing"].radar for item in found]),
    }


def openpcdet(written: Written, sweeps: int = 10) -> list[dict[str, Any]]:
    tables, infos = Tables(written), []
    for identifier, sample in written.samples.items():
        key, found = tables.key(sample["token"]), labels(written, identifier)
        listed: list[dict[str, Any]] = []
        record = key
        while len(listed) < sweeps - 1:
            before = tables.before(record)
            if before is None:
                empty = {"lidar_path": key["filename"], "transform_matrix": None, "time_lag": 0}
                listed.append(listed[-1] if listed else {**empty, "sample_data_token": key["token"]})
                continue
            record = before
            listed.append(
                {
                    "lidar_path": record["filename"],
                    "sample_data_token": record["token"],
                    "transform_matrix": np.linalg.inv(tables.to_global(key)) @ tables.to_global(record),
                    "time_lag": 1e-6 * key["timestamp"] - 1e-6 * record["timestamp"],
                }
            )
        boxes = np.concatenate([found["boxes"], found["velocity"]], axis=1)
        infos.append(
            {
                "lidar_path": key["filename"],
                "cam_front_path": "samples/CAM_FRONT/x.jpg",
                "cam_intrinsic": np.eye(3),
                "token": sample["token"],
                "sweeps": listed,
                "ref_from_car": np.linalg.inv(matrix(tables.sensor(key))),
                "car_from_global": np.linalg.inv(matrix(tables.ego(key))),
                "timestamp": 1e-6 * key["timestamp"],
                "gt_boxes": boxes,
                "gt_boxes_velocity": np.column_stack([found["velocity"], np.zeros(len(boxes))]),
                "gt_names": np.where(np.isin(found["names"], ORDER), found["names"], "ignore"),
                "gt_boxes_token": np.array(["t"] * len(boxes)),
                "num_lidar_pts": found["lidar"],
                "num_radar_pts": found["radar"],
            }
        )
    return infos


def mmdet3d_0(written: Written, width_first: bool) -> dict[str, Any]:
    tables, infos = Tables(written), []
    for identifier, sample in written.samples.items():
        key, found = tables.key(sample["token"]), labels(written, identifier)
        boxes = found["boxes"].copy()
        if width_first:
            boxes = np.column_stack([boxes[:, :3], boxes[:, 4], boxes[:, 3], boxes[:, 5], -boxes[:, 6] - np.pi / 2])
        record, sweeps = key, []
        while len(sweeps) < 10 and (before := tables.before(record)) is not None:
            record = before
            relative = np.linalg.inv(tables.to_global(key)) @ tables.to_global(record)
            sweeps.append(
                {
                    "data_path": f"./data/nuscenes/{record['filename']}",
                    "type": "lidar",
                    "sample_data_token": record["token"],
                    "sensor2ego_translation": tables.sensor(record)["translation"],
                    "sensor2ego_rotation": tables.sensor(record)["rotation"],
                    "ego2global_translation": tables.ego(record)["translation"],
                    "ego2global_rotation": tables.ego(record)["rotation"],
                    "timestamp": record["timestamp"],
                    "sensor2lidar_rotation": relative[:3, :3],
                    "sensor2lidar_translation": relative[:3, 3],
                }
            )
        infos.append(
            {
                "lidar_path": f"./data/nuscenes/{key['filename']}",
                "token": sample["token"],
                "sweeps": sweeps,
                "cams": {"CAM_FRONT": {"data_path": "x.jpg", "cam_intrinsic": np.eye(3)}},
                "lidar2ego_translation": tables.sensor(key)["translation"],
                "lidar2ego_rotation": tables.sensor(key)["rotation"],
                "ego2global_translation": tables.ego(key)["translation"],
                "ego2global_rotation": tables.ego(key)["rotation"],
                "timestamp": key["timestamp"],
                "gt_boxes": boxes,
                "gt_names": found["names"],
                "gt_velocity": found["velocity"],
                "num_lidar_pts": found["lidar"],
                "num_radar_pts": found["radar"],
                "valid_flag": np.ones(len(boxes), bool),
            }
        )
    return {"infos": infos, "metadata": {"version": written.version}}


def mmdet3d_1(written: Written) -> dict[str, Any]:
    tables, listed = Tables(written), []
    for number, (old, identifier) in enumerate(zip(mmdet3d_0(written, False)["infos"], written.samples)):
        key, found = tables.key(old["token"]), labels(written, identifier)
        frame: dict[str, Any] = {
            "sample_idx": number,
            "token": old["token"],
            "timestamp": old["timestamp"] / 1e6,
            "ego2global": matrix(tables.ego(key)).astype(np.float32).tolist(),
            "lidar_points": {
                "num_pts_feats": 5,
                "lidar_path": Path(old["lidar_path"]).name,
                "lidar2ego": matrix(tables.sensor(key)).astype(np.float32).tolist(),
            },
            "images": {"CAM_FRONT": {"img_path": "x.jpg"}},
            "cam_instances": {"CAM_FRONT": []},
            "instances": [
                {
                    "bbox_label": ORDER.index(name) if name in ORDER else -1,
                    "bbox_label_3d": ORDER.index(name) if name in ORDER else -1,
                    "bbox_3d": box.tolist(),
                    "velocity": velocity.tolist(),
                    "num_lidar_pts": lidar,
                    "num_radar_pts": radar,
                    "bbox_3d_isvalid": np.True_,
                }
                for name, box, velocity, lidar, radar in zip(*(found[k] for k in _COLUMNS))
            ],
        }
        sweeps = [
            {
                "timestamp": sweep["timestamp"] / 1e6,
                "ego2global": matrix(_pose(sweep, "ego2global")).astype(np.float32).tolist(),
                "sample_data_token": sweep["sample_data_token"],
                "lidar_points": {
                    "lidar_path": sweep["data_path"],
                    "lidar2ego": matrix(_pose(sweep, "sensor2ego")).astype(np.float32).tolist(),
                    "lidar2sensor": np.eye(4).tolist(),  # has meant different things: not to be read
                },
            }
            for sweep in old["sweeps"]
        ]
        listed.append({**frame, "lidar_sweeps": sweeps} if sweeps else frame)  # empty entries are left out
    categories = {**{name: i for i, name in enumerate(ORDER)}, "animal": -1}
    return {
        "metainfo": {
            "categories": categories,
            "dataset": "nuscenes",
            "version": written.version,
            "info_version": "1.1",
        },
        "data_list": listed,
    }


_COLUMNS = ("names", "boxes", "velocity", "lidar", "radar")


def _pose(sweep: dict[str, Any], name: str) -> dict[str, Any]:
    return {"translation": sweep[f"{name}_translation"], "rotation": sweep[f"{name}_rotation"]}


def kitti(root: Path, frames: list[str], velodyne_path: bool = False) -> list[dict[str, Any]]:
    """OpenPCDet's, or with ``velodyne_path`` mmdet3d 0.x's, infos of label and calibration texts."""
    infos = []
    for frame in frames:
        entries = {}
        for line in (root / "training/calib" / f"{frame}.txt").read_text().splitlines():
            key, _, values = line.partition(":")
            entries[key] = np.array(values.split(), float)
        rows = [line.split() for line in (root / "training/label_2" / f"{frame}.txt").read_text().splitlines()]
        numbers = np.array([row[1:15] for row in rows], float)
        rectify = np.eye(4)
        rectify[:3, :3] = entries["R0_rect"].reshape(3, 3)
        last = [[0.0, 0, 0, 1]]
        path = {"velodyne_path": f"training/velodyne/{frame}.bin"} if velodyne_path else {"lidar_idx": frame}
        infos.append(
            {
                "point_cloud": {"num_features": 4, **path},
                "image": {"image_idx": frame, "image_shape": np.array([375, 1242], np.int32)},
                "calib": {
                    "P2": np.concatenate([entries["P2"].reshape(3, 4), last]),
                    "R0_rect": rectify,
                    "Tr_velo_to_cam": np.concatenate([entries["Tr_velo_to_cam"].reshape(3, 4), last]),
                },
                "annos": {
                    "name": np.array([row[0] for row in rows]),
                    "truncated": numbers[:, 0],
                    "occluded": numbers[:, 1],
                    "alpha": numbers[:, 2],
                    "bbox": numbers[:, 3:7],
                    "dimensions": numbers[:, [9, 7, 8]],
                    "location": numbers[:, 10:13],
                    "rotation_y": numbers[:, 13],
                    "score": -np.ones(len(rows)),
                },
            }
        )
    return infos


def kitti_1(infos: list[dict[str, Any]]) -> dict[str, Any]:
    classes = ("Pedestrian", "Cyclist", "Car", "Van", "Truck", "Person_sitting", "Tram", "Misc")
    listed = []
    for info in infos:
        annos = info["annos"]
        frame = f"{info['point_cloud']['lidar_idx']}.bin"
        instances = []
        for i, name in enumerate(annos["name"]):
            box = [*annos["location"][i], *annos["dimensions"][i], annos["rotation_y"][i]]
            number = classes.index(name) if name in classes else -1
            own = {key: annos[key][i].tolist() for key in ("bbox", "truncated", "occluded", "alpha")}
            instances.append({"bbox_label": number, "bbox_label_3d": number, "bbox_3d": box, **own})
        lidar = {"lidar_path": frame, "num_pts_feats": 4, "Tr_velo_to_cam": info["calib"]["Tr_velo_to_cam"].tolist()}
        camera = {"cam2img": info["calib"]["P2"].tolist(), "height": 375, "width": 1242}
        images = {"CAM2": camera, "R0_rect": info["calib"]["R0_rect"].tolist()}
        listed.append({"sample_idx": frame, "lidar_points": lidar, "images": images, "instances": instances})
    categories = {**{name: i for i, name in enumerate(classes)}, "DontCare": -1}
    return {"metainfo": {"categories": categories, "dataset": "kitti", "info_version": "1.1"}, "data_list": listed}
