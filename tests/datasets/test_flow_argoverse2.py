"""Argoverse 2 flow: the published definition written out point by point, on real sweeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

feather = pytest.importorskip("pyarrow.feather")

from argoverse2_writer import write_log  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from perception.datasets.argoverse2.ground import read_height_map  # noqa: E402
from perception.datasets.flow.argoverse2 import Argoverse2Flow  # noqa: E402
from perception.datasets.flow.classes import NAMES  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.scene_flow.icp_clusters import cluster_flow  # noqa: E402
from perception.training.evaluation_flow import evaluate_flow  # noqa: E402


def _pose(row: dict[str, float]) -> tuple[Rotation, np.ndarray]:
    return Rotation.from_quat([row[k] for k in ("qx", "qy", "qz", "qw")]), np.array(
        [row[k] for k in ("tx_m", "ty_m", "tz_m")]
    )


def _published(log: Path, stamps: list[int]) -> tuple[np.ndarray, ...]:
    """Flow, validity, category and whether a point moves, box after box, in double precision."""
    table = feather.read_table(log / "sensors" / "lidar" / f"{stamps[0]}.feather")
    xyz = np.column_stack([table.column(a).to_numpy().astype(np.float64) for a in "xyz"])
    poses = {
        row["timestamp_ns"]: _pose(row) for row in feather.read_table(log / "city_SE3_egovehicle.feather").to_pylist()
    }
    (r0, t0), (r1, t1) = (poses[stamp] for stamp in stamps)
    rigid = r1.inv().apply(r0.apply(xyz) + t0 - t1) - xyz
    rows = feather.read_table(log / "annotations.feather").to_pylist()
    second = {row["track_uuid"]: row for row in rows if row["timestamp_ns"] == stamps[1]}
    flow, valid, category = rigid.copy(), np.ones(len(xyz), bool), np.zeros(len(xyz), int)
    for row in rows:
        if row["timestamp_ns"] != stamps[0]:
            continue
        turn, place = _pose(row)
        local = turn.inv().apply(xyz - place)
        half = np.array([row["length_m"] + 0.2, row["width_m"] + 0.2, row["height_m"]]) / 2
        inside = (np.abs(local) <= half).all(1)
        category[inside] = NAMES.index(row["category"])
        if row["track_uuid"] in second:
            later, there = _pose(second[row["track_uuid"]])
            flow[inside] = later.apply(local[inside]) + there - xyz[inside]
        else:
            valid[inside] = False
    return flow, valid, category, np.linalg.norm(flow - rigid, axis=1) >= 0.05, rigid


def test_labels_are_as_published(shared_data: Path) -> None:
    root = shared_data / "argoverse2" / "sensor_val"
    dataset = Argoverse2Flow(root)
    assert len(dataset) == 1
    sample = dataset[0]
    labels = sample.labels
    assert labels is not None
    assert sample.seconds == pytest.approx(0.100196)
    log = next(root.iterdir())
    stamps = sorted(int(p.stem) for p in (log / "sensors" / "lidar").iterdir())
    flow, valid, category, moving, rigid = _published(log, stamps)
    same = labels.category == category
    assert (~same).sum() <= 2  # points on faces of boxes, told in float32 here
    np.testing.assert_allclose(labels.flow[same], flow[same], atol=3e-5)
    np.testing.assert_allclose(sample.pair.ego_flow(), rigid, atol=1e-6)
    assert np.array_equal(labels.valid, valid)
    assert (labels.moving != moving).sum() <= 2
    assert 2000 < moving.sum() < 2100
    static = labels.box < 0
    assert np.array_equal(labels.flow[static], sample.pair.ego_flow()[static])


def test_the_lidars_frame_tells_the_same(shared_data: Path) -> None:
    root = shared_data / "argoverse2" / "sensor_val"
    vehicle, lidar = (Argoverse2Flow(root, frame=frame)[0] for frame in ("vehicle", "lidar"))
    assert vehicle.labels is not None
    assert lidar.labels is not None
    assert np.array_equal(vehicle.labels.category, lidar.labels.category)
    assert np.array_equal(vehicle.pair.first.fields["ground"], lidar.pair.first.fields["ground"])
    lengths = [np.linalg.norm(s.labels.flow - s.pair.ego_flow(), axis=1) for s in (vehicle, lidar) if s.labels]
    np.testing.assert_allclose(lengths[0], lengths[1], atol=2e-4)
    assert lidar.pair.first.xyz[:, 2].mean() < vehicle.pair.first.xyz[:, 2].mean() - 1


def test_ground_of_the_map(shared_data: Path) -> None:
    root = shared_data / "argoverse2" / "sensor_val"
    heights = read_height_map(next(root.iterdir()))
    assert heights is not None
    sample = Argoverse2Flow(root)[0]
    ground = sample.pair.first.fields["ground"]
    near = np.hypot(*sample.pair.first.xyz[:, :2].T) < 15
    assert 0.15 < ground[near].mean() < 0.6
    assert sample.labels is not None
    assert (ground & (sample.labels.category == 19)).sum() < 0.1 * (sample.labels.category == 19).sum()
    far = np.array([[1e6, 1e6, 0.0]])
    assert np.isnan(heights.at(far)).all()
    assert not heights.is_ground(far).any()


def test_clusters_beat_standing_still(shared_data: Path) -> None:
    found = evaluate_flow(cluster_flow, [Argoverse2Flow(shared_data / "argoverse2" / "sensor_val")])
    assert found.three_way["Three-way"] < 0.08  # 0.227 for the ego motion alone
    assert found.three_way["IoU"] > 0.7


def test_logs_without_maps_and_labels(tmp_path: Path) -> None:
    root = write_log(tmp_path)
    dataset = Argoverse2Flow(root)
    assert [name.rpartition("/")[0] for name in dataset.identifiers] == ["log-a", "log-a"]
    sample = dataset[0]  # of another track at each sweep: nothing is known of what lies in boxes
    assert sample.labels is not None
    np.testing.assert_allclose(sample.labels.flow, [[-2.0, 0, 0]], atol=1e-3)
    assert len(Argoverse2Flow(root, labelled=False)) == 3
    (root / "val" / "log-a" / "annotations.feather").unlink()
    with pytest.raises(PerceptionError):
        Argoverse2Flow(root)
    assert Argoverse2Flow(root, labelled=False)[0].labels is None


def test_damaged_height_map(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    folder.mkdir()
    assert read_height_map(tmp_path) is None
    (folder / "x_ground_height_surface____PIT.npy").write_bytes(b"no array")
    (folder / "x___img_Sim2_city.json").write_text('{"R": [1, 0, 0, 1], "t": [0, 0], "s": 1}')
    with pytest.raises(PerceptionError, match="ground heights"):
        read_height_map(tmp_path)
    np.save(folder / "x_ground_height_surface____PIT.npy", np.full((4, 4), 2.0, np.float16))
    heights = read_height_map(tmp_path)
    assert heights is not None
    assert heights.is_ground(np.array([[1, 1, 2.2], [1, 1, 2.5], [1, 1, -9], [9, 1, 2]])).tolist() == [
        True,
        False,
        True,
        False,
    ]
