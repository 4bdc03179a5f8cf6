"""What is told to move without labels, against streets that say so; and a folder of scans as training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.datasets.flow.scans import ScanPairs
from perception.errors import PerceptionError
from perception.io.writers import write_points
from perception.losses.seflow import UNCLUSTERED
from perception.scan_pair import ScanPair, ground_mask
from perception.scene_flow.motion_labels import motion_labels
from perception.simulate.flow import street_flow
from perception.training.data import collate
from perception.training.fit import build
from perception.training.settings import check_experiment


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drive")
    pair = street_flow(4, seconds=0.1).pair
    for number, cloud in enumerate((pair.first, pair.second)):
        write_points(folder / f"{number:06d}.bin", cloud)
    np.savetxt(folder / "poses.txt", np.stack([np.eye(4), np.linalg.inv(pair.pose)])[:, :3].reshape(2, 12))
    return folder


def test_moving_points_are_found_and_move_together() -> None:
    sample = street_flow(4)
    first, second = motion_labels(sample.pair)
    assert len(first) == len(sample.pair.first)
    assert len(second) == len(sample.pair.second)
    assert sample.labels is not None
    fast = np.linalg.norm(sample.labels.flow - sample.pair.ego_flow(), axis=1) > 0.3
    fast &= ~ground_mask(sample.pair.first)
    said = first > UNCLUSTERED
    assert (said & fast).sum() > 0.6 * fast.sum()
    assert (said & ~sample.labels.moving).sum() < 0.02 * len(first)
    for label in np.unique(first[said]):  # each cluster is one thing, or nearly
        owners = np.unique(sample.pair.first.fields["group"][first == label], return_counts=True)[1]
        assert owners.max() > 0.7 * owners.sum()


def test_nothing_moves_between_equal_scans_and_in_empty_ones() -> None:
    cloud = street_flow(2).pair.first
    assert not any(part.any() for part in motion_labels(ScanPair(cloud, cloud)))
    none = cloud.select(np.zeros(0, np.int64))
    assert [len(part) for part in motion_labels(ScanPair(none, cloud))] == [0, len(cloud)]


def test_a_folder_of_scans_teaches_a_model(drive: Path) -> None:
    values = {
        "model": "fastflow3d",
        "overrides": {
            "point_range": [-25.6, -25.6, -3.0, 25.6, 25.6, 3.0], "voxel_size": [0.4, 0.4, 6.0], "loss": "seflow",
        },
        "data": {"train": [{"name": "scan_pairs", "options": {"root": str(drive), "poses": str(drive / "poses.txt")}}]},
        "flow_augment": {"flip_x": 0.5},
        "training": {"workers": 0, "threads": 1},
    }  # fmt: skip
    module = build(check_experiment(values, "the test"))
    batch = collate([module.train_data[(0, 0)]])
    optimiser = torch.optim.Adam(module.model.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = module.losses(batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(np.isfinite(losses))
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_poses_and_scans_that_do_not_fit(drive: Path, tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match="0 scans"):
        ScanPairs(tmp_path)
    np.savetxt(tmp_path / "poses.txt", np.eye(4)[:3].reshape(1, 12))
    with pytest.raises(PerceptionError, match="1 poses"):
        ScanPairs(drive, tmp_path / "poses.txt")
