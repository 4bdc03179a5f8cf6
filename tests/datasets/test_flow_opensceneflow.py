from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from perception.datasets.flow.opensceneflow import OpenSceneFlow  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402

STAMPS = (315966265259836000, 315966265360032000, 315966265459836000)


def _write(root: Path, name: str = "scene-a") -> Path:
    rng = np.random.default_rng(3)
    with h5py.File(root / f"{name}.h5", "w") as file:
        for number, stamp in enumerate(STAMPS):
            group = file.create_group(str(stamp))
            xyz = rng.normal(size=(20 + number, 3)).astype(np.float32)
            pose = np.eye(4, dtype=np.float32)
            pose[:3, 3] = 5000 + number, 3, 0
            group["lidar"], group["pose"] = xyz, pose
            group["ground_mask"] = np.arange(len(xyz)) < 5
            if number < 2:
                flow = np.tile(np.float32([-1, 0, 0]), (len(xyz), 1))
                flow[7] = 0.5, 0, 0
                group["flow"], group["flow_is_valid"] = flow, np.arange(len(xyz)) != 9
                group["flow_category_indices"] = np.where(np.arange(len(xyz)) == 7, 19, 0).astype(np.uint8)
            if number == 1:
                group["eval_mask"] = (np.arange(len(xyz)) < 10)[:, None]
                exact = np.eye(4)
                exact[0, 3] = -1.0
                group["ego_motion"] = exact.astype(np.float32)
    return root


def test_pairs_and_labels(tmp_path: Path) -> None:
    dataset = OpenSceneFlow(_write(tmp_path))
    assert dataset.identifiers == tuple(f"scene-a/{stamp}" for stamp in STAMPS[:2])
    sample = dataset[0]
    assert sample.labels is not None
    assert sample.seconds == pytest.approx(0.100196)
    assert sample.pair.pose[0, 3] == pytest.approx(-1)
    assert sample.labels.moving.tolist() == [i == 7 for i in range(20)]
    assert sample.labels.category[7] == 19
    assert not sample.labels.valid[9]
    assert sample.pair.first.fields["ground"].sum() == 5
    assert len(sample.pair.second) == 21


def test_evaluation_and_choice(tmp_path: Path) -> None:
    _write(tmp_path)
    dataset = OpenSceneFlow(tmp_path, evaluation=True)
    assert len(dataset) == 1
    assert dataset[0].labels.valid.sum() == 9
    with pytest.raises(PerceptionError, match=r"scene 'scene-b'[\s\S]*scene-a"):
        OpenSceneFlow(tmp_path, scenes=["scene-b"])


@pytest.mark.parametrize("damage", ["lidar", "flow", "pose", "flow_is_valid"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    _write(tmp_path)
    with h5py.File(tmp_path / "scene-a.h5", "r+") as file:
        group: Any = file[str(STAMPS[0])]
        del group[damage]
        if damage != "flow_is_valid":
            group[damage] = np.zeros((3, 2))
    with pytest.raises(PerceptionError, match=damage):
        OpenSceneFlow(tmp_path)[0]


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match=r"\.h5"):
        OpenSceneFlow(tmp_path)
    (tmp_path / "a.h5").write_bytes(b"not HDF5")
    with pytest.raises(PerceptionError, match="HDF5"):
        OpenSceneFlow(tmp_path)
