from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.points import PointCloud
from perception.results import SceneFlow
from perception.scan_pair import ScanPair
from perception.simulate.flow import street_flow
from perception.view.flow_picture import direction_colours, flow_picture


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_arrows_and_colours_of_a_street(tmp_path: Path, theme: str) -> None:
    sample = street_flow(3)
    labels = sample.labels
    assert labels is not None
    found = SceneFlow(torch.from_numpy(labels.flow), torch.from_numpy(labels.moving))
    figure = flow_picture(sample.pair, found, tmp_path / "flow.png", theme=theme, title="A street")
    assert (tmp_path / "flow.png").stat().st_size > 20_000
    axes = figure.axes[0]
    assert len(axes.collections) == 2  # shafts and heads
    shafts = axes.collections[0].get_paths()
    lengths = [float(np.linalg.norm(path.vertices[1] - path.vertices[0])) for path in shafts]
    speed = np.linalg.norm(labels.flow - sample.pair.ego_flow(), axis=1).max() / 0.1
    assert max(lengths) <= 0.5 * speed + 1e-6
    assert any("move" in text.get_text() for text in axes.texts)


def test_empty_and_still_clouds() -> None:
    empty = PointCloud(np.zeros((0, 3)))
    flow_picture(ScanPair(empty, empty), SceneFlow(torch.zeros(0, 3), torch.zeros(0, dtype=torch.bool)))
    cloud = PointCloud(np.random.default_rng(0).normal(size=(50, 3)) * 9)
    figure = flow_picture(ScanPair(cloud, cloud), SceneFlow(torch.zeros(50, 3), torch.zeros(50, dtype=torch.bool)))
    assert any("nothing moves" in text.get_text() for text in figure.axes[0].texts)


def test_opposite_ways_have_unlike_colours() -> None:
    ways = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, 0.01]])
    for theme in ("dark", "light"):
        colour = direction_colours(ways, theme)
        gap = np.abs(colour[:, None] - colour[None]).sum(2)
        assert gap[:4, :4][~np.eye(4, dtype=bool)].min() > 0.4
        assert gap[0, 4] < 0.05
