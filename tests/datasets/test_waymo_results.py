import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip("pyarrow")

from waymo_writer import SEGMENT, START, default_lasers, frames_of, write_segment

from perception.boxes import Boxes3D
from perception.datasets.waymo.dataset import Waymo
from perception.datasets.waymo.results import read_objects, write_results
from perception.errors import PerceptionError
from perception.results import Detections
from perception.training.evaluation_waymo import evaluate_waymo


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "training"
    write_segment(folder, default_lasers(), frames_of(default_lasers()))
    return folder


def test_evaluation_of_perfect_results(split, tmp_path):
    dataset = Waymo(split.parent, labelled=True)
    result = evaluate_waymo(Perfect(dataset, ("Vehicle", "Pedestrian")), [dataset])
    assert result.frames == 3
    assert result.report.values["Vehicle/L2/APH"] == pytest.approx(1)
    assert "Vehicle/L1/AP" in result.as_dict()["waymo"]
    assert "Pedestrian" in result.table()
    result.write_results(tmp_path / "results.bin")
    back = read_objects(tmp_path / "results.bin")
    assert back.frames.tolist() == [f"{SEGMENT}/{START}"] * 2 + [f"{SEGMENT}/{START + 200_000}"] * 2
    assert back.names.tolist() == ["Vehicle", "Pedestrian"] * 2
    assert back.boxes[0] == pytest.approx([10, 2, 1, 4, 2, 1.5, 0.3])
    wider = Perfect(dataset, ("Vehicle", "Pedestrian", "Car"))
    wider.renamed = {"Pedestrian": "Car"}
    assert len(evaluate_waymo(wider, [dataset]).results[0][1]) == 1  # cars are not the benchmark's
    with pytest.raises(PerceptionError, match="classes"):
        evaluate_waymo(Perfect(dataset, ("Car",)), [dataset])


class Perfect(torch.nn.Module):
    """Answers the labels of a data set, whatever it is asked."""

    task, stages = "detection", ()

    def __init__(self, dataset, classes):
        super().__init__()
        self.classes, self.renamed = classes, {}
        self.answers = iter([dataset[i].objects for i in range(len(dataset))])

    def points(self, clouds):
        return clouds

    def voxelise(self, points):
        return points

    def forward(self, points):
        return next(self.answers)

    def results(self, objects):
        labels = torch.tensor(
            [self.classes.index(self.renamed.get(name, name)) for name in objects.names], dtype=torch.int64
        )
        return [Detections(objects.boxes, torch.ones(len(objects)), labels, self.classes)]


def test_a_message_by_hand(tmp_path):
    """Bytes written out from the published field numbers: a vehicle 1 m long at x = 2 with the score 0.5, 7 points."""
    double = {1: bytes.fromhex("000000000000f03f"), 2: bytes.fromhex("0000000000000040")}
    box = b"\x09" + double[2] + b"\x29" + double[1]
    label = b"\x0a" + bytes([len(box)]) + box + b"\x18\x01" + b"\x28\x02" + b"\x38\x07"
    whole = (
        b"\x0a" + bytes([len(label)]) + label + b"\x15" + bytes.fromhex("0000003f") + b"\x18\x01\x22\x01s\x28\xac\x02"
    )
    path = tmp_path / "objects.bin"
    path.write_bytes(b"\x0a" + bytes([len(whole)]) + whole)
    found = read_objects(path)
    assert found.frames.tolist() == ["s/300"]
    assert found.boxes.tolist() == [[2, 0, 0, 1, 0, 0, 0]]
    assert (found.names[0], found.scores[0], found.points[0], found.difficulty[0]) == ("Vehicle", 0.5, 7, 2)
    assert found.in_no_label_zone[0]
    for damaged in (path.read_bytes()[:-1], path.read_bytes()[:20], b"hello world", b"\x0a\x00"):
        path.write_bytes(damaged)
        with pytest.raises(PerceptionError, match="Objects messages"):
            read_objects(path)


def test_wrong_results_are_explained(tmp_path):
    with pytest.raises(PerceptionError, match="identifier 'frame 3'"):
        write_results(tmp_path / "r.bin", [("frame 3", Detections.empty(("Vehicle",)))])
    car = Detections(Boxes3D(torch.ones(1, 7)), torch.ones(1), torch.zeros(1).long(), ("Car",))
    with pytest.raises(PerceptionError, match="class 'Car'"):
        write_results(tmp_path / "r.bin", [("s/3", car)])
    write_results(tmp_path / "r.bin", [("s/3", Detections.empty(("Vehicle",)))])
    with pytest.raises(PerceptionError, match="empty"):
        read_objects(tmp_path / "r.bin")


def test_the_check_of_published_figures(tmp_path, capsys):
    path = Path(__file__).resolve().parents[2] / "tools/check_waymo_metric.py"
    specification = importlib.util.spec_from_file_location("check_waymo_metric", path)
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    boxes = Boxes3D(torch.tensor([[10.0, 0, 0, 4, 2, 1.5, 0]]))
    write_results(tmp_path / "r.bin", [("s/3", Detections(boxes, torch.ones(1), torch.zeros(1).long(), ("Vehicle",)))])
    figures = tmp_path / "figures.txt"
    figures.write_text(
        "// OBJECT_TYPE_TYPE_VEHICLE_LEVEL_1: [mAP 0] [mAPH 0.5]\n"
        "// RANGE_TYPE_SIGN_[0, 30)_LEVEL_2: [mAP 0] [mAPH 0]\n"
    )
    assert tool.main([str(tmp_path / "r.bin"), str(tmp_path / "r.bin"), "--published", str(figures)]) == 0
    # Nothing counts as an object, for these have no points.
    assert "Vehicle/L1/APH: 0.000000, published 0.5" in capsys.readouterr().out
    assert tool.main([str(figures), str(figures)]) == 2
