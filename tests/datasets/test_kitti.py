import shutil
import struct

import matplotlib.image
import numpy as np
import pytest
import torch

from perception.camera import CameraView
from perception.datasets.kitti.boxes import camera_to_lidar
from perception.datasets.kitti.dataset import KittiDetection, label_difficulty
from perception.errors import PerceptionError
from perception.io.images import read_image

CALIBRATION = """P2: 700 0 600 45 0 700 170 0.2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
"""
LABELS = """Car 0.00 0 1.85 387.63 181.54 423.81 223.12 1.67 1.87 3.69 -2.0 1.7 20.0 1.57
DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10
Cyclist 0.20 1 -1.65 676.60 163.95 688.98 193.93 1.86 0.60 2.02 4.59 1.32 25.84 -1.55
"""


@pytest.fixture
def root(tmp_path):
    """Three made frames in the published layout."""
    for identifier in ("000000", "000001", "000002"):
        for name, content in (("calib", CALIBRATION), ("label_2", LABELS)):
            path = tmp_path / "training" / name / f"{identifier}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "training/velodyne").mkdir(exist_ok=True)
        points = np.array([[20, 2, -1, 0.3], [-20, 2, -1, 0.5], [30, -5, 0, 1.0]], "<f4")
        points.tofile(tmp_path / "training/velodyne" / f"{identifier}.bin")
    return tmp_path


def test_a_frame(root):
    dataset = KittiDetection(root)
    sample = dataset[1]
    assert (len(dataset), sample.identifier, len(sample.cloud)) == (3, "000001", 2)
    assert sample.cloud.fields["intensity"].tolist() == pytest.approx([0.3, 1.0])
    assert sample.objects.names.tolist() == ["Car", "Cyclist"]
    assert sample.objects.attributes["difficulty"].tolist() == [0, 1]
    assert sample.objects.attributes["bbox"].shape == (2, 4)
    assert dataset.labels(1).names.tolist() == ["Car", "DontCare", "Cyclist"]
    assert len(KittiDetection(root, camera_view=False)[1].cloud) == 3


def test_splits_and_chosen_frames(root):
    (root / "ImageSets").mkdir()
    (root / "ImageSets/val.txt").write_text("000002\n000001\n\n")
    assert KittiDetection(root, "val").identifiers == ("000002", "000001")
    assert KittiDetection(root, identifiers=["000000"])[0].identifier == "000000"
    (root / "ImageSets/val.txt").write_text("000002\n000077\n")
    with pytest.raises(PerceptionError, match=r"val\.txt.*000077.*velodyne/000077\.bin"):
        KittiDetection(root, "val")
    (root / "ImageSets/val.txt").write_text("../../etc/passwd\n")
    with pytest.raises(PerceptionError, match="one frame identifier a line"):
        KittiDetection(root, "val")
    with pytest.raises(PerceptionError, match=r"trainval\.txt"):
        KittiDetection(root, "trainval")
    with pytest.raises(PerceptionError, match="list of identifiers"):
        KittiDetection(root, identifiers="000000")


def test_testing_has_no_labels(root):
    shutil.copytree(root / "training", root / "testing", ignore=shutil.ignore_patterns("label_2"))
    dataset = KittiDetection(root, "testing")
    assert len(dataset) == 3
    assert dataset[0].objects is None
    with pytest.raises(PerceptionError, match="no labels"):
        dataset.labels(0)


def test_cropped_scans_are_the_fallback(root):
    (root / "training/velodyne").rename(root / "training/velodyne_reduced")
    assert len(KittiDetection(root)[0].cloud) == 2


def test_image_size_comes_from_the_header(root):
    folder = root / "training/image_2"
    folder.mkdir()
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1224, 370)
    (folder / "000000.png").write_bytes(header)
    (folder / "000001.png").write_bytes(b"\xff\xd8\xff" + bytes(40))
    dataset = KittiDetection(root)
    assert [dataset.calibration(i).image_size for i in (0, 2)] == [(1224, 370), (1242, 375)]
    with pytest.raises(PerceptionError, match="not a PNG"):
        dataset[1]


def test_road_plane_is_read_where_there_is_one(root):
    (root / "training/planes").mkdir()
    (root / "training/planes/000001.txt").write_text("# Plane\nWidth 4\nHeight 1\n0 -1 0 1.65\n")
    dataset = KittiDetection(root)
    assert dataset.calibration(0).road_plane is None
    assert dataset.calibration(1).road_plane.tolist() == [0, -1, 0, 1.65]


def test_empty_label_file_is_a_scene_without_objects(root):
    (root / "training/label_2/000000.txt").write_text("")
    sample = KittiDetection(root)[0]
    assert len(sample.objects) == 0
    assert sample.objects.boxes.values.shape == (0, 7)
    assert sample.objects.attributes["bbox"].shape == (0, 4)


def test_wrong_root_names_the_layout(root):
    for wrong in (root / "training", root / "absent", root.parent):
        with pytest.raises(PerceptionError, match=r"training/\{velodyne,calib,label_2\}"):
            KittiDetection(wrong)
    with pytest.raises(PerceptionError) as error:
        KittiDetection(root / "training")
    assert error.value.fix == f"pass {root.resolve()}"


def test_incomplete_frames_are_named_at_once(root):
    (root / "training/calib/000001.txt").unlink()
    with pytest.raises(PerceptionError, match=r"000001.*calib/000001\.txt"):
        KittiDetection(root)
    assert len(KittiDetection(root, identifiers=["000000", "000002"])) == 2


def test_damaged_files_are_named(root):
    dataset = KittiDetection(root)
    (root / "training/label_2/000000.txt").write_text("Car 0.00 0 what is this\n")
    (root / "training/velodyne/000001.bin").write_bytes(bytes(50))
    (root / "training/calib/000002.txt").write_text("P2: 1 2 3\n")
    for index, name in enumerate(("label_2/000000.txt", "velodyne/000001.bin", "calib/000002.txt")):
        with pytest.raises(PerceptionError, match=name):
            dataset[index]


def test_absurd_labels_are_named(root):
    (root / "training/label_2/000000.txt").write_text(LABELS.replace("-2.0 1.7 20.0", "1e300 1.7 20.0"))
    with pytest.raises(PerceptionError, match="Car at"):
        KittiDetection(root)[0]


def test_non_finite_points_are_dropped_and_counted(root):
    np.array([[20, 2, -1, 0.3], [np.nan, 2, -1, 0.5]], "<f4").tofile(root / "training/velodyne/000000.bin")
    cloud = KittiDetection(root)[0].cloud
    assert (len(cloud), cloud.dropped) == (1, 1)


def test_difficulty_limits():
    heights = np.array([39, 38.9, 24, 23.9, 60, 60, 60, 60, 60])
    bbox = np.column_stack([np.zeros(9), np.zeros(9), np.ones(9), heights])
    occlusion = np.array([0, 0, 0, 0, 1, 2, 3, 0, 0])
    truncation = np.array([0.15, 0, 0, 0, 0, 0, 0, 0.3, 0.51])
    assert label_difficulty(bbox, truncation, occlusion).tolist() == [0, 1, 1, -1, 1, 2, -1, 1, -1]


def test_real_frames(shared_data):
    dataset = KittiDetection(shared_data / "kitti_object")
    assert dataset.identifiers == ("000000", "000001", "000002", "000003", "000004", "000007", "000008")
    whole = KittiDetection(shared_data / "kitti_object", camera_view=False)
    for index, identifier in enumerate(dataset.identifiers):
        sample, labels = dataset[index], dataset.labels(index)
        boxes = camera_to_lidar(labels.camera_boxes(), sample.calibration)[labels.names != "DontCare"]
        assert np.abs(sample.objects.boxes.values.numpy() - boxes).max() < 1e-5
        assert 15_000 < len(sample.cloud) < 25_000
        assert len(whole[index].cloud) > 110_000 or identifier in ("000007", "000008")
    assert len(whole[0].cloud) == 115_384


def test_the_image_and_how_points_project_into_it(root):
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[5, 7] = (255, 51, 0)
    (root / "training/image_2").mkdir()
    matplotlib.image.imsave(root / "training/image_2/000001.png", colours)
    view = KittiDetection(root, image=True, camera_view=False)[1].view
    assert view.image.shape == (3, 20, 30)
    assert view.image[:, 5, 7].tolist() == pytest.approx([1.0, 0.2, 0.0])
    # The published quotient is by the depth alone: 600 + 45 / 19.73 without the 3 mm of the projection's third row.
    wide = CameraView(torch.zeros(3, 400, 1300), view.to_camera, view.projection)
    pixels, seen = wide.pixels(torch.tensor([[20.0, 0.0, -0.08]]))
    assert seen.item()
    assert pixels.tolist() == [[int(600 + 45 / 19.73), int(170 + 0.2 / 19.73)]]
    assert KittiDetection(root)[1].view is None
    with pytest.raises(PerceptionError, match=r"000002\.png"):
        KittiDetection(root, image=True)[2]


def test_files_that_are_no_images(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(PerceptionError, match="cannot be read as an image"):
        read_image(path)
    grey = tmp_path / "grey.png"
    matplotlib.image.imsave(grey, np.linspace(0, 1, 12).reshape(3, 4), cmap="gray", vmin=0, vmax=1)
    assert read_image(grey).shape == (3, 3, 4)
