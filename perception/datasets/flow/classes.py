"""Categories of scene-flow points: those of Argoverse 2, by which all benchmarks group, and who else's names they are.

Khatri et al., "I Can't Believe It's Not Scene Flow!", ECCV 2024, section 4 for the groups.
"""

from __future__ import annotations

from perception.datasets.argoverse2.labels import CATEGORIES, RARE_CATEGORIES

BACKGROUND = 0
NAMES = ("NONE", *sorted({*CATEGORIES, *RARE_CATEGORIES}))
"""Names by category number; 0 is the background."""

_NUMBER = {name: number for number, name in enumerate(NAMES)}
GROUPS: dict[str, tuple[int, ...]] = {
    "BACKGROUND": (BACKGROUND,),
    **{
        group: tuple(_NUMBER[name] for name in names)
        for group, names in {
            "CAR": ("REGULAR_VEHICLE",),
            "OTHER_VEHICLES": (
                "BOX_TRUCK",
                "LARGE_VEHICLE",
                "RAILED_VEHICLE",
                "TRUCK",
                "TRUCK_CAB",
                "VEHICULAR_TRAILER",
                "ARTICULATED_BUS",
                "BUS",
                "SCHOOL_BUS",
            ),
            "PEDESTRIAN": ("PEDESTRIAN", "STROLLER", "WHEELCHAIR", "OFFICIAL_SIGNALER"),
            "WHEELED_VRU": (
                "BICYCLE",
                "BICYCLIST",
                "MOTORCYCLE",
                "MOTORCYCLIST",
                "WHEELED_DEVICE",
                "WHEELED_RIDER",
            ),
        }.items()
    },
}
"""The bucketed metric's classes; categories in none of them (signs, cones, ...) do not count there."""

# KITTI, nuScenes (of the benchmark, then of the tables), Waymo, generated streets.
_ALIASES = {
    "car": "REGULAR_VEHICLE",
    "van": "REGULAR_VEHICLE",
    "vehicle": "REGULAR_VEHICLE",
    "truck": "TRUCK",
    "tram": "RAILED_VEHICLE",
    "bus": "BUS",
    "trailer": "VEHICULAR_TRAILER",
    "construction_vehicle": "LARGE_VEHICLE",
    "vehicle.emergency.ambulance": "LARGE_VEHICLE",
    "vehicle.emergency.police": "REGULAR_VEHICLE",
    "pedestrian": "PEDESTRIAN",
    "person": "PEDESTRIAN",
    "person (sitting)": "PEDESTRIAN",
    "person_sitting": "PEDESTRIAN",
    "human.pedestrian.personal_mobility": "WHEELED_RIDER",
    "human.pedestrian.stroller": "STROLLER",
    "human.pedestrian.wheelchair": "WHEELCHAIR",
    "cyclist": "BICYCLIST",
    "bicycle": "BICYCLE",
    "motorcycle": "MOTORCYCLE",
    "traffic_cone": "CONSTRUCTION_CONE",
    "barrier": "CONSTRUCTION_BARREL",
    "animal": "ANIMAL",
    "sign": "SIGN",
}
OTHER = _NUMBER["SIGN"]
"""What is labelled but of no known kind: foreground in the three-way metric, in no group of the bucketed one."""


def category_number(name: str) -> int:
    """The category of an object as any of the data sets calls it."""
    return _NUMBER.get(name, _NUMBER.get(_ALIASES.get(name.lower(), ""), OTHER))
