"""Random labels and results for nuScenes' metric, the same ones for the same seed: uniform numbers only."""

from __future__ import annotations

import numpy as np

from perception.datasets.nuscenes.records import ATTRIBUTES, CLASSES, NuscenesBoxes, NuscenesTruth


def made(frames: int, labels: int, spare: int, seed: int) -> tuple[NuscenesTruth, NuscenesBoxes]:
    """About ``labels`` labels a frame with results near most of them, and ``spare`` results anywhere."""
    random = np.random.Generator(np.random.PCG64(seed))
    ego = np.column_stack([random.random((frames, 2)) * 2000, np.zeros(frames)])
    truth = _boxes(random, np.repeat(np.arange(frames), labels), ego)
    truth.velocity[random.random(len(truth)) < 0.1] = np.nan
    racks = _boxes(random, np.arange(frames), ego)
    racks.size[:] = racks.size * 6 + 2

    copies = np.repeat(np.arange(len(truth)), (random.random(len(truth)) * 3).astype(int))
    near = truth.select(copies)
    near.translation[:] += (random.random(near.translation.shape) - 0.5) * [4, 4, 1]
    near.size[:] *= 0.7 + 0.7 * random.random(near.size.shape)
    near.rotation[:] += 0.3 * (random.random(near.rotation.shape) - 0.5)
    near.velocity[:] = np.nan_to_num(near.velocity) + random.random(near.velocity.shape) - 0.5
    wrong = random.random(len(near)) < 0.2
    near.attribute[wrong] = np.array(ATTRIBUTES)[(random.random(int(wrong.sum())) * len(ATTRIBUTES)).astype(int)]
    found = NuscenesBoxes.concatenate([near, _boxes(random, np.repeat(np.arange(frames), spare), ego)])
    found.points[:] = -1
    found.score[:] = np.round(random.random(len(found)), 3)  # many are equal
    order = np.argsort(found.frame, kind="stable")
    return NuscenesTruth(tuple(f"token{f:05d}" for f in range(frames)), ego, truth, racks), found.select(order)


def _boxes(random: np.random.Generator, frame: np.ndarray, ego: np.ndarray) -> NuscenesBoxes:
    count = len(frame)
    heading = 2 * np.pi * random.random(count)
    tilt = 0.02 * (random.random((count, 2)) - 0.5)
    return NuscenesBoxes(
        frame,
        np.array(CLASSES)[(random.random(count) * len(CLASSES)).astype(int)],
        ego[frame] + (random.random((count, 3)) - 0.5) * [110, 110, 3],
        0.4 + 4 * random.random((count, 3)),
        np.column_stack([np.cos(heading / 2), tilt, np.sin(heading / 2)]),
        20 * (random.random((count, 2)) - 0.5),
        np.array(["", *ATTRIBUTES])[(random.random(count) * (len(ATTRIBUTES) + 1)).astype(int)],
        np.full(count, np.nan),
        (random.random(count) * 10).astype(int),
    )
