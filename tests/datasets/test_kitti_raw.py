import numpy as np
import pytest
from test_kitti_tracklets import document, pose, tracklet

from perception.datasets.kitti.boxes import camera_to_lidar
from perception.datasets.kitti.raw import KittiRaw, KittiRawDrive
from perception.errors import PerceptionError

CAMERAS = """calib_time: 09-Jan-2012 13:57:47
S_rect_02: 1242 375
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 700 0 600 45 0 700 170 0.2 0 0 1 0.003
"""
LIDAR = "calib_time: 15-Mar-2012 11:37:16\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.08 -0.27\n"
IMU = "R: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n"
OXTS = "49.0 8.4 116 0 0 {yaw}" + " 0" * 24
DRIVE = "2011_09_26_drive_0009_sync"


@pytest.fixture
def root(tmp_path):
    """A made drive whose scan 1 is missing, with a car ahead, one half out of the image and one behind."""
    date = tmp_path / "2011_09_26"
    drive = date / DRIVE
    (drive / "velodyne_points/data").mkdir(parents=True)
    (drive / "oxts/data").mkdir(parents=True)
    for name, text in (("cam_to_cam", CAMERAS), ("velo_to_cam", LIDAR), ("imu_to_velo", IMU)):
        (date / f"calib_{name}.txt").write_text(text)
    for frame in (0, 2):
        points = np.array([[20, 0, -1, 0.3], [-20, 2, -1, 0.5]], "<f4")
        points.tofile(drive / "velodyne_points/data" / f"{frame:010d}.bin")
    for frame in range(3):
        (drive / "oxts/data" / f"{frame:010d}.txt").write_text(OXTS.format(yaw=frame * 0.1))
    stamps = [f"2011-09-26 13:02:2{frame}.500000000\n" for frame in range(3)]
    (drive / "velodyne_points/timestamps.txt").write_text("".join(stamps))
    cars = [
        tracklet(0, [pose(20, 0, -1.7)] * 3),
        tracklet(2, [pose(4, 4.3, -1.7)]),
        tracklet(0, [pose(-20, 2, -1.7)] * 3),
    ]
    (drive / "tracklet_labels.xml").write_text(document(*cars))
    return tmp_path


def test_samples_of_a_drive_with_a_missing_scan(root):
    dataset = KittiRaw(root)
    assert [dataset[i].identifier for i in range(2)] == [f"{DRIVE}/0000000000", f"{DRIVE}/0000000002"]
    assert dataset[1].cloud.stamp - dataset[0].cloud.stamp == pytest.approx(2)
    assert dataset[1].objects.attributes["track"].tolist() == [0, 1]
    assert dataset.identifiers == (f"{DRIVE}/0000000000", f"{DRIVE}/0000000002")
    assert len(dataset[0].cloud) == 1
    assert dataset[1].cloud.metadata["pose"].dtype == np.float64
    assert np.allclose(
        dataset[1].cloud.metadata["pose"][:2, :2], [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    )


def test_what_is_derived_from_the_image(root):
    attributes = KittiRaw(root, camera_view=False)[1].objects.attributes
    assert attributes["difficulty"].tolist()[0] == 0
    assert attributes["truncation"][0] == 0
    assert 0.3 < attributes["truncation"][1] < 1
    assert attributes["difficulty"][2] == -1
    assert not attributes["bbox"][2].any()


def test_labels_have_the_rows_of_the_objects(root):
    for view, count in ((True, 2), (False, 3)):
        dataset = KittiRaw(root, camera_view=view)
        labels, objects = dataset.labels(1), dataset[1].objects
        assert len(labels.names) == len(objects) == count
        boxes = camera_to_lidar(labels.camera_boxes(), dataset[1].calibration)
        assert np.abs(boxes - objects.boxes.values.numpy()).max() < 1e-5


def test_every_level_of_the_layout_can_be_the_root(root):
    for folder in (root, root / "2011_09_26", root / "2011_09_26" / DRIVE):
        assert len(KittiRaw(folder)) == 2
    assert len(KittiRawDrive(root / "2011_09_26" / DRIVE)) == 2
    assert KittiRaw(root)[-1].identifier == KittiRaw(root)[1].identifier
    with pytest.raises(IndexError):
        KittiRaw(root)[2]


def test_drives_without_labels(root):
    (root / "2011_09_26" / DRIVE / "tracklet_labels.xml").unlink()
    assert KittiRaw(root)[0].objects is None
    with pytest.raises(PerceptionError, match="labelled drives"):
        KittiRaw(root, labelled=True)
    with pytest.raises(PerceptionError, match="tracklet_labels"):
        KittiRaw(root).labels(0)


def test_wrong_folders_are_explained(root):
    with pytest.raises(PerceptionError, match="velodyne_points"):
        KittiRaw(root / "absent")
    with pytest.raises(PerceptionError, match=f"no drive 'nothing'[^$]*{DRIVE}"):
        KittiRaw(root, drives=["nothing"])
    with pytest.raises(PerceptionError, match="no scans"):
        KittiRawDrive(root)
    (root / "2011_09_26/calib_velo_to_cam.txt").unlink()
    with pytest.raises(PerceptionError, match="calib_velo_to_cam"):
        KittiRaw(root)


def test_missing_pose_is_named(root):
    drive = root / "2011_09_26" / DRIVE
    (drive / "oxts/data/0000000002.txt").unlink()
    with pytest.raises(PerceptionError, match=r"0000000002\.txt"):
        KittiRawDrive(drive).pose(1)
    assert "pose" not in KittiRawDrive(drive)[1].cloud.metadata
    (root / "2011_09_26/calib_imu_to_velo.txt").unlink()
    assert "pose" not in KittiRawDrive(drive)[0].cloud.metadata
    with pytest.raises(PerceptionError, match="calib_imu_to_velo"):
        KittiRawDrive(drive).pose(0)


def test_real_drive(shared_data):
    dataset = KittiRaw(shared_data / "kitti_raw")
    assert len(dataset) == 8
    for index, counts in ((0, [343, 54, 20, 6]), (5, [732, 105, 60, 2])):
        sample = dataset[index]
        points = KittiRaw(shared_data / "kitti_raw", camera_view=False)[index].cloud.xyz.astype(np.float64)
        cars = sample.objects.boxes.values.double().numpy()[sample.objects.names == "Car"]
        offset = points[:, None] - cars[:, :3]
        cos, sin = np.cos(cars[:, 6]), np.sin(cars[:, 6])
        local = [
            offset[..., 0] * cos + offset[..., 1] * sin,
            offset[..., 1] * cos - offset[..., 0] * sin,
            offset[..., 2],
        ]
        assert (np.abs(np.stack(local, -1)) <= cars[:, 3:6] / 2).all(-1).sum(0).tolist() == counts
        assert (sample.objects.attributes["difficulty"] >= 0).all()
    stamps = np.array([dataset[i].cloud.stamp for i in range(8)])
    assert np.allclose(np.diff(stamps), 0.103, atol=0.002)
    # 13.2 m/s by the drive's own velocity sensor.
    path = np.linalg.norm(dataset.drives[0].pose(7)[:3, 3])
    assert path / (stamps[7] - stamps[0]) == pytest.approx(13.17, abs=0.3)
