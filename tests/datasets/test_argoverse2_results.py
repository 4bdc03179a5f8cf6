import json

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow")
from argoverse2_writer import write_log
from pyarrow import feather

from perception.boxes import Boxes3D
from perception.datasets.argoverse2.dataset import Argoverse2
from perception.datasets.argoverse2.map import find_map, read_drivable_area
from perception.datasets.argoverse2.results import read_results, write_results
from perception.errors import PerceptionError
from perception.results import Detections
from perception.training.evaluation_argoverse2 import evaluate_argoverse2


@pytest.fixture
def root(tmp_path):
    return write_log(tmp_path)


def test_results_there_and_back(tmp_path):
    boxes = torch.tensor([[1.0, 2, 3, 4, 2, 1.5, 2.5], [9.0, 2, 3, 4, 2, 1.5, -3.0]])
    found = Detections(Boxes3D(boxes), torch.tensor([0.25, 0.75]), torch.tensor([1, 0]), ("Regular_vehicle", "DOG"))
    path = tmp_path / "results.feather"
    none = Detections.empty(("BUS",))
    write_results(path, [("log-a/12", found), ("log-a/13", none), ("log-b/12", found.select(torch.tensor([0])))])
    back = read_results(path)
    assert set(back) == {"log-a/12", "log-b/12"}
    assert back["log-a/12"].names == ["REGULAR_VEHICLE", "DOG"]
    assert back["log-a/12"].scores.tolist() == [0.75, 0.25]
    assert back["log-a/12"].boxes.values.numpy() == pytest.approx(boxes.flip(0).numpy(), abs=1e-6)
    columns = feather.read_table(path).column_names
    assert sorted(columns) == sorted(
        [
            "tx_m",
            "ty_m",
            "tz_m",
            "length_m",
            "width_m",
            "height_m",
            "qw",
            "qx",
            "qy",
            "qz",
            "score",
            "log_id",
            "timestamp_ns",
            "category",
        ]
    )
    write_results(path, [])
    assert read_results(path) == {}
    with pytest.raises(PerceptionError, match="identifier"):
        write_results(path, [("12", none)])
    car = Detections(Boxes3D(boxes[:1]), torch.ones(1), torch.zeros(1).long(), ("Car",))
    with pytest.raises(PerceptionError, match="category of Argoverse 2"):
        write_results(path, [("a/12", car)])


def test_evaluation_of_perfect_results(root, tmp_path):
    dataset = Argoverse2(root, labelled=True)
    names = ("Regular_vehicle", "Dog", "Bus")
    model = Perfect(dataset, names)
    result = evaluate_argoverse2(model, [dataset])
    assert result.frames == 3
    # The only box of the vehicles has no points: it is no object, and finding it is an error.
    assert result.report.categories["REGULAR_VEHICLE"].objects == 0
    assert result.report.categories["DOG"].cds == pytest.approx(1)
    assert result.as_dict()["argoverse2"]["mean"]["ap"] == pytest.approx(2 / 26)
    result.write_results(tmp_path / "results.feather")
    assert len(read_results(tmp_path / "results.feather")) == 3
    with pytest.raises(PerceptionError, match="classes"):
        evaluate_argoverse2(Perfect(dataset, ("Car",)), [dataset])


class Perfect(torch.nn.Module):
    """Answers the labels of a data set, whatever it is asked."""

    task, stages = "detection", ()

    def __init__(self, dataset, classes):
        super().__init__()
        self.classes = classes
        self.answers = iter([dataset[i].objects for i in range(len(dataset))])

    def points(self, clouds):
        return clouds

    def voxelise(self, points):
        return points

    def forward(self, points):
        return next(self.answers)

    def results(self, objects):
        upper = [name.upper() for name in self.classes]
        known = objects.select(np.isin(objects.names, upper))
        labels = torch.tensor([upper.index(name) for name in known.names], dtype=torch.int64)
        return [Detections(known.boxes, torch.ones(len(known)), labels, self.classes)]


def draw(path, *polygons):
    areas = {str(i): {"area_boundary": [{"x": x, "y": y, "z": 0} for x, y in p]} for i, p in enumerate(polygons)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"drivable_areas": areas}))
    return path


# A square of 20 m, and an L whose bounds reach to x = 60, y = 40.
AREAS = ([(0, 0), (20, 0), (20, 20), (0, 20)], [(40, 0), (60, 0), (60, 40), (50, 40), (50, 10), (40, 10)])


def test_region_of_interest_by_hand(tmp_path):
    area = read_drivable_area(draw(tmp_path / "map.json", *AREAS))
    small = [1.0, 1, 1, 0.0]
    places = {(10, 10): True, (10, 24): True, (10, 26): False, (45, 25): True, (43, 25): False, (30, 5): False}
    boxes = np.array([[x, y, 0, *small] for x, y in places])
    assert area.in_region(boxes, np.eye(4)).tolist() == list(places.values())
    # One corner is enough, and the region ends, as the evaluator's grid does, at the rectangle around all polygons.
    assert area.in_region(np.array([[30, 5, 0, 11, 1, 1, 0.0], [10, -3, 0, *small]]), np.eye(4)).tolist() == [
        True,
        False,
    ]
    pose = np.eye(4)
    pose[:2, 3] = 10, 10
    assert area.in_region(np.array([[0, 0, 0, *small]]), pose).tolist() == [True]
    assert len(area.in_region(np.zeros((0, 7)), pose)) == 0


def test_evaluation_where_there_are_maps(root):
    dataset = Argoverse2(root, labelled=True)
    everywhere = evaluate_argoverse2(Perfect(dataset, ("Dog", "Bus")), [dataset])
    assert not everywhere.in_region
    # The city's y axis is ahead: the dog stands at (0, 4 + 15), the bus at (0, 2 + 20).
    draw(
        root / "val" / "log-a" / "map" / "log_map_archive_a.json",
        [(-5, 0), (5, 0), (5, 14), (-5, 14)],
        [(-5, 90), (5, 90), (0, 95)],
    )
    inside = evaluate_argoverse2(Perfect(dataset, ("Dog", "Bus")), [dataset])
    assert inside.in_region
    assert "region of interest" in inside.title
    assert [inside.report.categories[name].objects for name in ("DOG", "BUS")] == [1, 0]
    assert [everywhere.report.categories[name].objects for name in ("DOG", "BUS")] == [1, 1]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"drivable_areas": {}}', '{"drivable_areas": {"1": {"area_boundary": [1]}}}']
)
def test_damaged_maps_are_named(tmp_path, text):
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(PerceptionError, match=r"map\.json"):
        read_drivable_area(path)


def test_real_map(shared_data):
    """77 of the 81 boxes of both sweeps are in the region, as the public evaluator finds."""
    log = Argoverse2(shared_data / "argoverse2" / "sensor_val").logs[0]
    area = read_drivable_area(find_map(log.folder))
    for stamp in log.stamps:
        assert area.in_region(log.objects(stamp).boxes.values.numpy(), log.pose(stamp)).sum() == 77
