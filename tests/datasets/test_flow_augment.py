from __future__ import annotations

import numpy as np
import pytest

from perception.datasets.augment import sample_generator
from perception.datasets.flow.augment import FlowAugmentation, FlowAugmentConfig, changed
from perception.errors import PerceptionError
from perception.simulate.flow import street_flow
from perception.simulate.sensor import Lidar

SMALL = Lidar(tuple(2.0 - i for i in range(16)), azimuth_step=1.0)
ALL = FlowAugmentConfig(flip_x=0.5, flip_y=0.5, rotation=(-1, 1), height=(-0.5, 2.0), jitter=0.01)


def test_flow_follows_the_points_exactly() -> None:
    sample = street_flow(3, SMALL)
    assert sample.labels is not None
    still = sample.labels.box < 0
    for number in range(8):
        config = FlowAugmentConfig(flip_x=0.5, flip_y=0.5, rotation=(-3, 3), height=(-0.5, 2.0))
        new = FlowAugmentation(config)(sample, sample_generator(0, 0, number))
        assert new.labels is not None
        # What stands still moves by the new pose; and lengths are kept, mirror images too.
        np.testing.assert_allclose(new.labels.flow[still], new.pair.ego_flow()[still], atol=2e-5)
        own = [np.linalg.norm(s.labels.flow - s.pair.ego_flow(), axis=1) for s in (sample, new) if s.labels]
        np.testing.assert_allclose(*own, atol=2e-5)
        there = [s.pair.first.xyz + s.labels.flow for s in (sample, new) if s.labels]
        gaps = [
            np.linalg.norm(t[:50, None] - s.pair.second.xyz[None, :80], axis=2) for t, s in zip(there, (sample, new))
        ]
        np.testing.assert_allclose(*gaps, rtol=1e-3, atol=1e-4)


def test_mirror_along_x() -> None:
    sample = street_flow(1, SMALL)
    new = changed(sample, np.diag([1.0, -1.0, 1.0, 1.0]))
    assert np.array_equal(new.pair.second.xyz, sample.pair.second.xyz * np.float32([1, -1, 1]))
    assert new.labels is not None
    assert sample.labels is not None
    assert np.array_equal(new.labels.flow, sample.labels.flow * np.float32([1, -1, 1]))
    assert np.linalg.det(new.pair.pose[:3, :3]) == pytest.approx(1)


def test_random_by_seed_epoch_and_index_alone() -> None:
    sample, augment = street_flow(2, SMALL), FlowAugmentation(ALL)
    one, same = (augment.at(e)(sample, sample_generator(4, 7, 1)) for e in (0, 9))
    assert np.array_equal(one.pair.first.xyz, same.pair.first.xyz)
    for key in ((5, 7, 1), (4, 8, 1), (4, 7, 2)):
        assert not np.array_equal(one.pair.first.xyz, augment(sample, sample_generator(*key)).pair.first.xyz)
    assert len(one.pair.first) == len(sample.pair.first)


def test_nothing_by_default_and_bad_settings() -> None:
    sample = street_flow(2, SMALL)
    same = FlowAugmentation(FlowAugmentConfig())(sample, sample_generator(0, 0, 0))
    assert np.array_equal(same.pair.first.xyz, sample.pair.first.xyz)
    assert np.array_equal(same.pair.pose, sample.pair.pose)
    for wrong in ({"flip_x": 1.5}, {"jitter": -1.0}, {"rotation": (1.0, 0.0)}):
        with pytest.raises(PerceptionError):
            FlowAugmentConfig(**wrong)  # type: ignore[arg-type]
