import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.kitti.labels import format_label_lines, parse_label_lines
from perception.datasets.kitti.raw import KittiRaw
from perception.datasets.kitti.results import detections_to_kitti
from perception.results import Detections

CLASSES = ("Car", "Pedestrian", "Cyclist", "Van", "Truck", "Misc", "Tram")


def as_detections(objects):
    labels = torch.tensor([CLASSES.index(name) for name in objects.names], dtype=torch.int64)
    return Detections(objects.boxes, torch.linspace(0.9, 0.1, len(objects)), labels, CLASSES)


def test_labels_survive_the_way_through_detections(shared_data):
    dataset = KittiDetection(shared_data / "kitti_object")
    for index in range(len(dataset)):
        labels, sample = dataset.labels(index), dataset[index]
        labels = labels.select(labels.names != "DontCare")
        results = detections_to_kitti(as_detections(sample.objects), sample.calibration)
        assert results.names.tolist() == labels.names.tolist()
        assert np.abs(results.camera_boxes() - labels.camera_boxes()).max() < 1e-5  # float32 metres in between
        assert np.abs(results.bbox - labels.bbox).max() < 12
        assert np.abs(np.sin(results.alpha - labels.alpha)).max() < 0.05
        assert (results.truncated == -1).all()
        assert (results.occluded == -1).all()
        again = parse_label_lines(format_label_lines(results), "results")
        assert np.abs(again.camera_boxes() - results.camera_boxes()).max() < 1e-4


def test_what_is_not_in_the_image_is_left_out(shared_data):
    calibration = KittiDetection(shared_data / "kitti_object").calibration(0)
    values = torch.tensor([[-20.0, 0, -1, 4, 2, 1.5, 0], [20, 0, -1, 4, 2, 1.5, 0], [5, 60, -1, 4, 2, 1.5, 0]])
    detections = Detections(Boxes3D(values), torch.tensor([0.9, 0.5, 0.2]), torch.zeros(3, dtype=torch.int64), CLASSES)
    assert detections_to_kitti(detections, calibration).score.tolist() == [0.5]
    assert len(detections_to_kitti(detections, calibration, only_visible=False)) == 3
    assert len(detections_to_kitti(Detections.empty(CLASSES), calibration)) == 0


def test_raw_drives_give_the_same_objects_as_labels_and_results(shared_data):
    dataset = KittiRaw(shared_data / "kitti_raw")
    labels, sample = dataset.labels(3), dataset[3]
    results = detections_to_kitti(as_detections(sample.objects), sample.calibration)
    assert np.isnan(labels.score).all()
    assert np.abs(results.camera_boxes() - labels.camera_boxes()).max() < 1e-5
    assert np.abs(results.bbox - labels.bbox).max() < 0.01
