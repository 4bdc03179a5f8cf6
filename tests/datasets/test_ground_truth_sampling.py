import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from perception.boxes import Boxes3D
from perception.config import parse
from perception.datasets.augment import AugmentConfig, build_augmentation, sample_generator
from perception.datasets.ground_truth_database import build_database, read_database, save_database
from perception.datasets.ground_truth_sampling import (
    GroundTruthSamplingConfig,
    load_ground_truth_sampling,
    make_ground_truth_sampling,
    without_collision,
)
from perception.datasets.kitti.calibration import KittiCalibration
from perception.datasets.kitti.dataset import KittiDetection
from perception.datasets.kitti.raw import KittiRaw
from perception.datasets.sample import Objects, Sample
from perception.errors import PerceptionError
from perception.geometry import bev_iou, points_in_boxes
from perception.points import PointCloud


class Scenes:
    """Twenty made recordings, each with one car of 30 points and one pedestrian of 3, and ground between them."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        generator = np.random.default_rng(index)
        place = generator.uniform([5, -20, -1], [40, 20, -0.5], (2, 3))
        place[1, 1] = place[0, 1] + 5
        rest = [[4, 1.7, 1.5, 0.4], [0.8, 0.8, 1.8, 2.0]]
        boxes = torch.tensor(np.hstack([place, rest]), dtype=torch.float32)
        inside = [place[k] + generator.uniform(-0.3, 0.3, (count, 3)) for k, count in enumerate((30, 3))]
        xyz = np.vstack([*inside, generator.uniform([0, -30, -2], [60, 30, -1.9], (500, 3))])
        objects = Objects(
            Boxes3D(boxes, torch.full((2, 2), float(index))),
            np.array(["Car", "Pedestrian"]),
            {"difficulty": np.array([index % 4 - 1, 0]), "bbox": np.ones((2, 4)), "track": np.array([1, 2])},
        )
        return Sample(f"{index:06d}", PointCloud(xyz, {"intensity": generator.random(len(xyz))}), objects)


def settings(**changes):
    values = {"database": "unused", "groups": {"Car": 8, "Pedestrian": 4}, "min_points": 1, **changes}
    return GroundTruthSamplingConfig(**values)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return build_database(Scenes(), tmp_path_factory.mktemp("database") / "made.npz")


def test_round_trip(database, tmp_path):
    path = tmp_path / "made.npz"
    told = []
    built = build_database(Scenes(), path, on_sample=told.append)
    read = read_database(path)
    assert told == list(range(20))
    for name in ("points", "offsets", "boxes", "names", "difficulty", "identifiers", "velocity"):
        assert np.array_equal(getattr(read, name), getattr(built, name)), name
        assert np.array_equal(getattr(read, name), getattr(database, name)), name
    assert np.array_equal(read.fields["intensity"], built.fields["intensity"])
    assert len(read) == 40
    assert (read.point_counts[read.names == "Car"] >= 30).all()


def test_objects_come_back_with_their_points(database):
    chosen = np.array([7, 2, 31])
    cloud, boxes = database.points_of(chosen), database.boxes_of(chosen)
    owner = np.repeat(np.arange(3), database.point_counts[chosen])
    inside = points_in_boxes(
        torch.from_numpy(cloud.xyz), Boxes3D(boxes.values + torch.tensor([0] * 3 + [1e-4] * 3 + [0])).values
    )
    assert inside[torch.arange(len(owner)), torch.from_numpy(owner)].all()
    assert len(cloud.fields["intensity"]) == len(cloud)


def test_pasting_collides_with_nothing_and_replaces_points(database):
    sampling = make_ground_truth_sampling(database, settings(exclude_difficulties=()))
    pasted = 0
    for index in range(10):
        sample = Scenes()[index]
        result = sampling(sample, sample_generator(0, 0, index))
        boxes = result.objects.boxes.values
        overlap = bev_iou(boxes, boxes).numpy()
        assert (overlap[~np.eye(len(boxes), dtype=bool)] == 0).all()
        assert result.objects.names[:2].tolist() == ["Car", "Pedestrian"]
        assert (result.objects.names == "Car").sum() <= 8
        inside = points_in_boxes(torch.from_numpy(result.cloud.xyz), boxes).sum(0)
        assert (inside[2:] >= 3).all()
        assert torch.equal(inside[:2], points_in_boxes(torch.from_numpy(sample.cloud.xyz), boxes[:2]).sum(0))
        assert result.objects.attributes["bbox"].shape == (len(boxes), 4)
        assert (result.objects.attributes["track"][2:] == -1).all()
        assert result.objects.boxes.velocity.shape == (len(boxes), 2)
        pasted += len(boxes) - 2
    assert pasted > 50


def test_ground_under_pasted_objects_is_removed(database):
    """Ground points fill the scene; in the pasted box only the object's own are left."""
    car = int(np.flatnonzero(database.names == "Car")[0])
    only = make_ground_truth_sampling(database, settings(groups={"Car": 1}))
    only = replace(only, pools={"Car": np.array([car])})
    box = database.boxes_of(np.array([car])).values
    ground = np.random.default_rng(0).uniform(box[0, :3].numpy() - 3, box[0, :3].numpy() + 3, (2000, 3))
    sample = Sample(
        "ground",
        PointCloud(ground, {"intensity": np.full(2000, -1.0)}),
        Objects(Boxes3D.empty(velocity=True), np.zeros(0, str), {"difficulty": np.zeros(0, int)}),
    )
    result = only(sample, sample_generator(0, 0, 0))
    inside = points_in_boxes(torch.from_numpy(result.cloud.xyz), box)[:, 0].numpy()
    assert (result.cloud.fields["intensity"][inside] >= 0).all()
    assert len(result.cloud) < 2000
    assert result.objects.names.tolist() == ["Car"]


def test_drawing_depends_on_the_generator_alone(database):
    sampling = make_ground_truth_sampling(database, settings())

    def run(epoch):
        return sampling(Scenes()[0], sample_generator(4, epoch, 0)).cloud.xyz.tobytes()

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_filters(database):
    sampling = make_ground_truth_sampling(database, settings(min_points=5, exclude_difficulties=(-1, 2)))
    assert len(sampling.pools["Pedestrian"]) == 0
    chosen = sampling.pools["Car"]
    assert set(database.difficulty[chosen].tolist()) == {0, 1}
    with pytest.raises(PerceptionError, match="no usable object"):
        make_ground_truth_sampling(database, settings(groups={"Pedestrian": 3}, min_points=100))
    with pytest.raises(PerceptionError, match="classes in the database: Car, Pedestrian"):
        make_ground_truth_sampling(database, settings(groups={"Tram": 3}))


def test_fill_up_counts_what_is_there(database):
    groups = {"Car": 1, "Pedestrian": 0}
    filled = make_ground_truth_sampling(database, settings(groups=groups))(Scenes()[3], sample_generator(0, 0, 0))
    assert len(filled.objects) == 2
    added = make_ground_truth_sampling(database, settings(groups={"Car": 5}, fill_up=False))
    assert len(added(Scenes()[3], sample_generator(0, 0, 0)).objects) > 2


def test_first_come_first_served():
    existing = Boxes3D(torch.tensor([[0.0, 0, 0, 4, 2, 1, 0]]))
    rows = [[1, 0, 9, 4, 2, 1, 0], [10, 0, 0, 4, 2, 1, 0], [11, 0, 0, 4, 2, 1, 1], [20, 0, 0, 4, 2, 1, 0]]
    assert without_collision(existing, Boxes3D(torch.tensor(rows))).tolist() == [1, 3]
    assert without_collision(existing, Boxes3D.empty()).tolist() == []
    assert without_collision(Boxes3D.empty(), existing).tolist() == [0]


def test_empty_and_unlabelled_samples(database):
    sampling = make_ground_truth_sampling(database, settings())
    cloud = PointCloud(np.zeros((0, 3)), {"intensity": np.zeros(0, np.float32)})
    result = sampling(Sample("empty", cloud, Objects(Boxes3D.empty(), np.zeros(0, str))), sample_generator(0, 0, 0))
    assert len(result.objects) > 0
    assert len(result.cloud) > 0
    assert sampling(Sample("none", cloud), sample_generator(0, 0, 0)).objects is None


def test_road_plane_carries_pasted_objects(database):
    camera = np.array([[0, -1.0, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])
    plane = np.array([0, -1, 0.1, 3.0]) / np.linalg.norm(
        [0, -1, 0.1]
    )  # y = 0.1 z + 3 in the camera, z = -0.1 x - 3 here
    calibration = KittiCalibration(np.eye(4)[:3], np.eye(3), camera, road_plane=plane)
    sample = replace(Scenes()[0], calibration=calibration)
    sampling = make_ground_truth_sampling(database, settings())
    result = sampling(sample, sample_generator(0, 0, 0))
    boxes = result.objects.boxes.values[2:]
    assert len(boxes) > 3
    assert torch.allclose(boxes[:, 2] - boxes[:, 5] / 2, -0.1 * boxes[:, 0] - 3, atol=1e-4)
    assert (points_in_boxes(torch.from_numpy(result.cloud.xyz), boxes).sum(0) >= 3).all()
    floating = replace(sampling, settings=settings(road_plane=False))(sample, sample_generator(0, 0, 0))
    assert torch.allclose(floating.objects.boxes.values[2:, [0, 1, 3, 4, 5, 6]], boxes[:, [0, 1, 3, 4, 5, 6]])


def test_real_frames(shared_data, tmp_path):
    dataset = KittiDetection(shared_data / "kitti_object")
    path = tmp_path / "kitti.npz"
    build_database(dataset, path, classes=("Car", "Pedestrian", "Cyclist"))
    recipe = build_augmentation(
        parse(AugmentConfig, {"ground_truth_sampling": {"database": str(path)}}, "test"),
        ("Car", "Pedestrian", "Cyclist"),
    )
    for sample in (dataset[0], KittiRaw(shared_data / "kitti_raw")[0]):
        result = recipe(sample, sample_generator(0, 0, 0))
        assert len(result.objects) > len(sample.objects)
        boxes = result.objects.boxes.values
        assert (bev_iou(boxes, boxes).fill_diagonal_(0) < 1e-6).all()
        assert points_in_boxes(torch.from_numpy(result.cloud.xyz), boxes).any(0).all()


def test_fields_must_agree(database):
    sample = Scenes()[0]
    fields = {**sample.cloud.fields, "ring": np.zeros(len(sample.cloud))}
    with pytest.raises(PerceptionError, match="ring"):
        make_ground_truth_sampling(database, settings())(
            replace(sample, cloud=replace(sample.cloud, fields=fields)), sample_generator(0, 0, 0)
        )


def test_nothing_to_cut_and_no_labels(tmp_path):
    with pytest.raises(PerceptionError, match="Tram"):
        build_database(Scenes(), tmp_path / "none.npz", classes=["Tram"])
    unlabelled = [Sample("x", Scenes()[0].cloud)]
    with pytest.raises(PerceptionError, match="no labels"):
        build_database(unlabelled, tmp_path / "none.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("groups", [{}, {"Car": -1}, {"Car": "many"}])
def test_wrong_groups_are_refused(groups):
    with pytest.raises(PerceptionError, match="groups"):
        parse(GroundTruthSamplingConfig, {"database": "x", "groups": groups}, "configuration")


def test_worker_processes_can_be_given_the_augmentation(database, tmp_path):
    path = tmp_path / "made.npz"
    save_database(database, path)
    sampling = load_ground_truth_sampling(settings(database=str(path)))
    copy = pickle.loads(pickle.dumps(sampling))
    results = [s(Scenes()[2], sample_generator(0, 0, 2)).cloud.xyz.tobytes() for s in (sampling, copy)]
    assert results[0] == results[1]


def test_unknown_group_names_the_nearest_class():
    with pytest.raises(PerceptionError, match="did you mean 'Pedestrian'"):
        load_ground_truth_sampling(settings(groups={"Pedestrain": 3}), ("Car", "Pedestrian"))


def test_damaged_databases_are_refused(tmp_path):
    path = tmp_path / "made.npz"
    build_database(Scenes(), path)
    whole = path.read_bytes()
    cases = {
        "cut": whole[: len(whole) // 2],
        "garbage": b"hello" * 100,
        "empty": b"",
        "claims": whole.replace(b"'shape': (40, 7)", b"'shape': (99, 7)"),
    }
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(PerceptionError, match=r"made\.npz"):
            read_database(path)
        assert content != whole, name
    with pytest.raises(PerceptionError, match="no file"):
        read_database(tmp_path / "absent.npz")


def test_foreign_pickled_and_compressed_archives_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(PerceptionError, match="not marked"):
        read_database(path)
    np.savez(path, format=np.array([{}], dtype=object))
    with pytest.raises(PerceptionError, match="holds object"):
        read_database(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(10_000_000))
    with pytest.raises(PerceptionError, match="compressed"):
        read_database(path)
