"""People and their joints as plain values, for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.io.detections import detections_to_plain
from perception.points import PointCloud
from perception.results import Skeletons


def skeletons_to_plain(people: Skeletons, cloud: PointCloud, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON file says: as of detections, under ``people``, each with its joints by name.

    ``position`` of a joint is in the coordinates of the file (the cloud's origin added), metres; ``visibility`` as in
    ``Skeletons``.
    """
    plain = detections_to_plain(people.detections, cloud, facts)
    places = people.keypoints.double().numpy() + cloud.origin
    entries = plain.pop("detections")
    for entry, positions, visibility in zip(entries, places, people.visibility.tolist()):
        entry["joints"] = {
            name: {"position": [round(float(v), 3) for v in position], "visibility": round(seen, 3)}
            for name, position, seen in zip(people.joint_names, positions, visibility)
        }
    return {**plain, "people": entries}
