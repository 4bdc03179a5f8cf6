"""Flow of KITTI raw (real), nuScenes and Waymo (made): boxes and sensors carry their points along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.datasets.catalogue import DATASETS, make_dataset
from perception.datasets.flow.kitti_raw import KittiRawFlow
from perception.datasets.flow.nuscenes import NuscenesFlow, slerp
from perception.datasets.kitti.raw import KittiRawDrive
from perception.datasets.rigid import inverse
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes


def test_kitti_raw(shared_data: Path) -> None:
    root = shared_data / "kitti_raw"
    dataset = KittiRawFlow(root, camera_view=False)
    drive = KittiRawDrive(next(root.glob("*/*_sync")), camera_view=False)
    assert len(dataset) == len(drive) - 1
    for index in (0, 3):
        sample = dataset[index]
        labels = sample.labels
        assert labels is not None
        assert sample.seconds == pytest.approx(0.103, abs=0.001)
        assert np.array_equal(labels.flow[labels.box < 0], sample.pair.ego_flow()[labels.box < 0])
        assert drive.tracklets is not None
        # The corners of each box go to the corners of the next: told by the tracklets themselves.
        for row, track in enumerate(labels.tracks.astype(int).tolist()):
            tracklet = drive.tracklets[track]
            place, later = tracklet.row(drive.frames[index]), tracklet.row(drive.frames[index + 1])
            mine = labels.box == row
            if later is None or place is None or not mine.any():
                continue
            before, after = tracklet.boxes[place], tracklet.boxes[later]
            turn = after[6] - before[6]
            rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
            xyz = sample.pair.first.xyz[mine].astype(np.float64)
            there = (xyz - before[:3]) @ rotation.T + after[:3]
            np.testing.assert_allclose(labels.flow[mine], there - xyz, atol=1e-5)
    seen = KittiRawFlow(root)[0].labels
    assert seen is not None
    assert 0.1 < seen.valid.mean() < 0.2


def test_nuscenes_boxes_between_keyframes(tmp_path: Path) -> None:
    from nuscenes_files import WORLD, write_nuscenes

    made = write_nuscenes(tmp_path, scenes=("scene-0061",), frames=3)
    dataset = NuscenesFlow(made.root, "v1.0-mini", "all")
    assert list(dataset.identifiers) == ["scene-0061/000", "scene-0061/001"]
    sample = dataset[0]
    labels = sample.labels
    assert labels is not None
    assert sample.seconds == pytest.approx(0.1)
    known = made.samples["scene-0061/000"]
    xyz = sample.pair.first.xyz.astype(np.float64)
    world = known["turn"].apply(xyz) + known["origin"]
    checked = 0
    for row in range(len(labels.tracks)):
        mine = (labels.box == row) & labels.valid
        if not mine.any():
            continue
        near = [t for t in known["labels"] if np.linalg.norm(world[mine].mean(0) - t["thing"].at(0.0) - WORLD) < 2]
        velocity = np.array([*near[0]["thing"].velocity, 0.0])
        later = np.column_stack([world[mine] + 0.1 * velocity, np.ones(mine.sum())])
        to_second = sample.pair.pose @ inverse(_pose(known))
        np.testing.assert_allclose(
            labels.flow[mine], (later @ to_second.T)[:, :3] - xyz[mine], atol=5e-4
        )  # boxes do not tilt
        checked += 1
    assert checked >= 5
    assert labels.moving.any()
    with pytest.raises(PerceptionError, match="gap"):
        NuscenesFlow(made.root, "v1.0-mini", "all", gap=0.0)


def _pose(known: dict) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = known["turn"].as_matrix(), known["origin"]
    return pose


def test_slerp() -> None:
    def about_z(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle / 2), 0, 0, np.sin(angle / 2)]])

    np.testing.assert_allclose(slerp(about_z(0.2), about_z(1.0), 0.25), about_z(0.4), atol=1e-12)
    np.testing.assert_allclose(slerp(about_z(0.2), -about_z(1.0), 0.25), about_z(0.4), atol=1e-12)
    np.testing.assert_allclose(slerp(about_z(0.2), about_z(0.2), 0.5), about_z(0.2), atol=1e-12)


def test_waymo(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from waymo_writer import box, default_lasers, frames_of, write_segment

    from perception.datasets.flow.waymo import WaymoFlow

    lasers = default_lasers()
    frames = frames_of(lasers, share=0.2)
    for number, frame in enumerate(frames):
        frame.boxes = [
            box("car", 1, centre=(10 + 0.8 * number, 2, 1), size=(12, 9, 4), heading=0.3 + 0.02 * number),
            *([box("walker", 2, centre=(-8, 0, 1), size=(8, 8, 4), heading=0.0)] if number == 0 else []),
        ]
    write_segment(tmp_path / "training", lasers, frames)
    dataset = WaymoFlow(tmp_path)
    assert len(dataset) == len(frames) - 1
    sample = dataset[0]
    labels = sample.labels
    assert labels is not None
    inside = points_in_boxes(_tensor(sample.pair.first.xyz), _tensor([[10, 2, 1, 12.2, 9.2, 4, 0.3]]))[:, 0].numpy()
    assert inside.any()
    cos, sin = np.cos(0.02), np.sin(0.02)
    xyz = sample.pair.first.xyz[inside].astype(np.float64)
    there = (xyz - [10, 2, 1]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T + [10.8, 2, 1]
    car = labels.tracks.tolist().index("car")
    rows = labels.box[inside] == car
    np.testing.assert_allclose(labels.flow[inside][rows], (there - xyz)[rows], atol=1e-5)
    walker = labels.box == labels.tracks.tolist().index("walker")
    assert walker.any()
    assert not labels.valid[walker].any()
    assert set(sample.pair.first.fields["laser"].tolist()) == {1}


def _tensor(values):  # type: ignore[no-untyped-def]
    import torch

    return torch.as_tensor(np.asarray(values, np.float64))


def test_every_flow_set_is_in_the_catalogue() -> None:
    names = [name for name, known in DATASETS.items() if known.task == "flow"]
    assert len(names) >= 6
    with pytest.raises(PerceptionError, match="sensor"):
        make_dataset("street_flow", {"sensor": "hdl65"}, "here")
    assert len(make_dataset("street_flow", {"length": 3}, "here")) == 3
