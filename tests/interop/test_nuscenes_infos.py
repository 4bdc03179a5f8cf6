from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from info_writers import ORDER, mmdet3d_0, mmdet3d_1, openpcdet
from nuscenes_files import Written, write_nuscenes

from perception.datasets.nuscenes.dataset import Nuscenes
from perception.datasets.nuscenes.records import CLASSES
from perception.errors import PerceptionError
from perception.geometry import points_in_boxes
from perception.interop.nuscenes_infos import NuscenesInfos

FORMATS: dict[str, Callable[[Written], Any]] = {
    "openpcdet": openpcdet,
    "mmdet3d_0": lambda written: mmdet3d_0(written, width_first=True),
    "mmdet3d_1_rc": lambda written: mmdet3d_0(written, width_first=False),
    "mmdet3d_1": mmdet3d_1,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_nuscenes(tmp_path_factory.mktemp("nuscenes"), frames=4)


def save(folder: Path, content: Any) -> Path:
    path = folder / "infos.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sweeps", [1, 10])
def test_samples_are_those_of_the_tables(made: Written, tmp_path: Path, name: str, sweeps: int) -> None:
    infos = NuscenesInfos(made.root, save(tmp_path, FORMATS[name](made)), sweeps=sweeps)
    tables = Nuscenes(made.root, "v1.0-mini", "all", sweeps=sweeps)
    assert len(infos) == len(tables)
    assert infos.identifiers == [tables.calibration(i).token for i in range(len(tables))]
    for ours, theirs in ((infos[i], tables[i]) for i in range(len(infos))):
        assert ours.objects is not None
        assert theirs.objects is not None
        np.testing.assert_allclose(ours.objects.boxes.values[:, :6], theirs.objects.boxes.values[:, :6], atol=1e-5)
        turned = ours.objects.boxes.heading - theirs.objects.boxes.heading
        np.testing.assert_allclose(turned.cos(), 1, atol=1e-10)
        np.testing.assert_allclose(ours.objects.boxes.velocity, theirs.objects.boxes.velocity, atol=1e-5)
        expected = [
            n if n in CLASSES or (name.startswith("mmdet3d_") and name != "mmdet3d_1") else "ignore"
            for n in theirs.objects.names.tolist()
        ]
        assert ours.objects.names.tolist() == expected
        np.testing.assert_allclose(ours.cloud.xyz, theirs.cloud.xyz, atol=1e-3)
        np.testing.assert_allclose(ours.cloud.fields["time"], theirs.cloud.fields["time"], atol=2e-6)
        mine, other = (s.calibration.lidar_to_global for s in (ours, theirs))  # type: ignore[attr-defined]
        np.testing.assert_allclose(mine, other, atol=1e-3)


def test_conventions_can_be_given_and_are_asked_for(made: Written, tmp_path: Path) -> None:
    content = mmdet3d_0(made, width_first=True)
    for info in content["infos"]:
        info["gt_names"][:] = "barrier"
    path = save(tmp_path, content)
    with pytest.raises(PerceptionError, match="pass convention"):
        NuscenesInfos(made.root, path)
    assert NuscenesInfos(made.root, path, convention="width_first")[0].objects is not None


def test_class_names_of_early_files(made: Written, tmp_path: Path) -> None:
    content = mmdet3d_1(made)
    expected = NuscenesInfos(made.root, save(tmp_path, content))[0].objects.names.tolist()  # type: ignore[union-attr]
    content["metainfo"] = {"CLASSES": ORDER}
    early = NuscenesInfos(made.root, save(tmp_path, content))[0].objects.names.tolist()  # type: ignore[union-attr]
    assert early == expected
    with pytest.raises(PerceptionError, match="names no classes"):
        NuscenesInfos(made.root, save(tmp_path, {**content, "metainfo": None}))


def test_infos_without_labels(made: Written, tmp_path: Path) -> None:
    content = openpcdet(made)
    for info in content:
        del info["gt_boxes"]
    assert NuscenesInfos(made.root, save(tmp_path, content))[1].objects is None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda infos: {"infos": 3}, "no list of nuScenes infos"),
        (lambda infos: [{"point_cloud": {}}], "no list of nuScenes infos"),
        (lambda infos: [{**infos[0], "sweeps": [{}]}], r"frame 0: KeyError 'transform_matrix'"),
        (lambda infos: [{**infos[0], "gt_names": np.array(["car"])}], "frame 0: ValueError"),
        (lambda infos: [{**infos[0], "ref_from_car": 1}], "frame 0: "),
        (lambda infos: [{**infos[0], "lidar_path": "samples/LIDAR_TOP/none.bin"}], "no sweep"),
    ],
)
def test_bad_infos(made: Written, tmp_path: Path, change: Callable[[Any], Any], match: str) -> None:
    path = save(tmp_path, change(openpcdet(made)))
    with pytest.raises(PerceptionError, match=match):
        _ = NuscenesInfos(made.root, path)[0]


def test_labels_of_a_real_keyframe_land_on_its_points(shared_data: Path) -> None:
    root = shared_data / "nuscenes"
    (path,) = root.glob("*.pkl")
    sample = NuscenesInfos(root, path.name, sweeps=1, near=0.0, minimum_lidar_points=0)[0]
    assert sample.objects is not None
    assert (len(sample.objects), len(sample.cloud)) == (69, 34_688)
    counted = points_in_boxes(torch.from_numpy(sample.cloud.xyz), sample.objects.boxes.values).sum(0).numpy()
    published = sample.objects.attributes["lidar_points"]
    assert (np.abs(counted - published) <= 2).mean() >= 0.95
    assert (int(counted.sum()), int(published.sum())) == (994, 1009)
    # What moves, moves ahead.
    velocity = sample.objects.boxes.velocity
    assert velocity is not None
    fast = velocity.norm(dim=1) > 1
    ahead = torch.atan2(velocity[fast, 1], velocity[fast, 0]) - sample.objects.boxes.heading[fast]
    assert int(fast.sum()) >= 20
    assert ahead.cos().min() > 0.9
