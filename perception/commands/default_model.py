"""Which of the shipped detectors suits clouds that nobody chose a model for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from perception.commands.inputs import Input
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.models.loading import shipped_weights
from perception.points import PointCloud

AHEAD, ROUND = "pointpillars-small", "pointpillars-small-round"
# Of a whole turn a half of the points lies behind the sensor; of a cloud cut to a camera's view none.
BEHIND = 0.1
LOOKED_AT = 20


def choose_detector(items: Sequence[Input], options: argparse.Namespace) -> tuple[str, str]:
    """A model's name, and why it: by whether the first cloud that can be read goes all round its sensor."""
    if options.calib is not None:
        return AHEAD, "for what the camera sees"
    if ROUND not in shipped_weights():
        return AHEAD, "the detector in the package"
    for item in items[:LOOKED_AT]:
        if item.path.suffix.lower() in (".las", ".laz"):
            return ROUND, "for maps"
        try:
            cloud = read_points(item.path, format=options.input_format)
        except PerceptionError:
            continue  # the run itself says what is wrong with it
        if len(cloud):
            return (ROUND, "for scans all round") if all_round(cloud) else (AHEAD, "for scans of what lies ahead")
    return ROUND, "for scans all round"


def all_round(cloud: PointCloud) -> bool:
    """Whether the sensor saw what lies behind it as well."""
    return bool((cloud.xyz[:, 0] < 0).mean() > BEHIND)
