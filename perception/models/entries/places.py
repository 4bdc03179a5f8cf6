"""Models of places."""

from __future__ import annotations

from perception.models.entries.entry import Entry
from perception.models.hotformerloc import (
    CS_CAMPUS3D,
    CS_WILD_PLACES,
    OXFORD,
    WILD_PLACES,
    HOTFormerLoc,
)
from perception.models.minkloc3dv2 import SMALL as MINKLOC_SMALL
from perception.models.minkloc3dv2 import MinkLoc3Dv2, MinkLoc3Dv2Config

PLACES: dict[str, Entry] = {
    "hotformerloc-cs-wild-places": Entry(
        HOTFormerLoc,
        CS_WILD_PLACES,
        "places",
        "HOTFormerLoc (CVPR 2025): octree attention with relay tokens; forests from the ground and from the air",
        {"hotformerloc": "cs-wild-places"},
    ),
    "hotformerloc-wild-places": Entry(
        HOTFormerLoc,
        WILD_PLACES,
        "places",
        "HOTFormerLoc (CVPR 2025) in cylindrical coordinates; forests from the ground",
        {"hotformerloc": "wild-places"},
    ),
    "hotformerloc-cs-campus3d": Entry(
        HOTFormerLoc,
        CS_CAMPUS3D,
        "places",
        "HOTFormerLoc (CVPR 2025); a campus from the ground and from the air, normalised clouds",
        {"hotformerloc": "cs-campus3d"},
    ),
    "hotformerloc-oxford": Entry(
        HOTFormerLoc,
        OXFORD,
        "places",
        "HOTFormerLoc (CVPR 2025) on finer octrees; Oxford RobotCar's normalised clouds",
        {"hotformerloc": "oxford"},
    ),
    "minkloc3dv2": Entry(
        MinkLoc3Dv2,
        MinkLoc3Dv2Config(),
        "places",
        "MinkLoc3Dv2 (ICPR 2022): sparse convolution and generalised mean; Oxford RobotCar's normalised clouds",
        {"minkloc": "minkloc3dv2"},
    ),
    "minkloc3dv2-small": Entry(
        MinkLoc3Dv2, MINKLOC_SMALL, "places", "MinkLoc3Dv2 for CPUs: scans of spinning lidars in metres, cells of 1 m"
    ),
}
