"""People and their joints."""

from __future__ import annotations

import numpy as np

from perception.models.loading import load
from perception.pipeline import perceive
from perception.results import Skeletons
from perception.simulate.people.ranges import TEST
from perception.simulate.people.scene import people_scene
from perception.timing import Stopwatch
from perception.view.report import Chapter
from perception.view.skeletons import skeletons_from_above, skeletons_in_perspective

MODEL, SEED, MOST = "voxelkp-small", 95, 16


def people() -> Chapter:
    """A generated crowd before a 64-beam lidar."""
    scene, model, watch = people_scene(SEED, "hdl64", TEST, grounded=False, most=MOST), load(MODEL), Stopwatch()
    perceive(model, [scene.cloud])
    with watch.lap("people"):
        (found,) = perceive(model, [scene.cloud])
    assert isinstance(found, Skeletons)
    there = 0 if scene.objects is None else len(scene.objects)
    distance = np.linalg.norm(found.boxes.centre[:, :2].numpy(), axis=1)
    where = f", {distance.min():.0f} to {distance.max():.0f} m away" if len(found) else ""
    return Chapter(
        "People and their joints",
        f"{len(found)} people found of {there}{where}. {MODEL}, {1000 * watch.seconds['people']:.0f} ms.",
        (
            (
                "Joints from the sensor's side; bones to hidden joints are dashed",
                skeletons_in_perspective(scene.cloud, found),
            ),
            ("The same from above", skeletons_from_above(scene.cloud, found)),
        ),
    )
