"""Results -> visualization_msgs/MarkerArray for RViz and Foxglove. Every array first removes the markers before it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np

from perception.results import Detections, Skeletons
from perception_ros.conversion.messages import Messages
from perception_ros.conversion.placement import Placement, pose_message
from perception_ros.conversion.stamps import parts_of

ARROW, CUBE, SPHERE, CYLINDER, LINE_LIST, SPHERE_LIST, TEXT = 0, 1, 2, 3, 5, 7, 9
ADD, DELETE_ALL = 0, 3
MARKERS = "visualization_msgs/msg/MarkerArray"
COLOURS = {
    "car": (0.13, 0.55, 0.95),
    "pedestrian": (0.95, 0.45, 0.13),
    "human": (0.95, 0.45, 0.13),
    "cyclist": (0.20, 0.75, 0.35),
    "truck": (0.55, 0.35, 0.85),
    "bus": (0.85, 0.25, 0.55),
}
ONE = np.array([0.0, 0.0, 0.0, 1.0])


class MarkerList:
    """Markers of one header; ``messages`` makes them. The first one removes all that were shown before."""

    def __init__(self, messages: Messages, header: Any, lifetime: float = 0.0) -> None:
        self.messages, self.header = messages, header
        sec, nanosec = parts_of(round(lifetime * 1e9))
        self.lifetime = messages.make("builtin_interfaces/msg/Duration", sec=sec, nanosec=nanosec)
        # Viewers that missed an array would keep its markers if each were removed by its number.
        self.markers = [messages.make("visualization_msgs/msg/Marker", header=header, action=DELETE_ALL)]

    def add(
        self,
        space: str,
        kind: int,
        place: np.ndarray,
        turn: np.ndarray,
        scale: Sequence[float],
        colour: Sequence[float],
        **fields: Any,
    ) -> None:
        """A marker in the name space ``space``, numbered by its place in the array; ``colour`` r g b a."""
        make = self.messages.make
        x, y, z = (float(v) for v in scale)
        red, green, blue, alpha = (float(v) for v in colour)
        self.markers.append(
            make(
                "visualization_msgs/msg/Marker",
                header=self.header,
                ns=space,
                id=len(self.markers),
                type=kind,
                action=ADD,
                pose=pose_message(self.messages, place, turn),
                scale=make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
                color=make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=alpha),
                lifetime=self.lifetime,
                **fields,
            )
        )

    def points(self, points: np.ndarray) -> list[Any]:
        """geometry_msgs/Point of each row (N, 3)."""
        return [self.messages.make("geometry_msgs/msg/Point", x=x, y=y, z=z) for x, y, z in points.tolist()]

    def message(self) -> Any:
        return self.messages.make(MARKERS, markers=self.markers)


def colour_of(name: str) -> tuple[float, float, float]:
    """The same colour for a class wherever it is drawn."""
    known = COLOURS.get(name.lower())
    return known or colorsys.hsv_to_rgb(crc32(name.encode()) % 360 / 360, 0.7, 0.9)


def box_markers(
    messages: Messages, found: Detections, placement: Placement, lifetime: float = 0.5, text: bool = True
) -> Any:
    """A translucent CUBE a box in the name space of its class, a text above it, an arrow where it has a velocity."""
    array = MarkerList(messages, placement.header, lifetime)
    values = found.boxes.values.double().numpy()
    places, turns = placement.points(values[:, :3]), placement.turns(values[:, 6])
    velocity = None if found.boxes.velocity is None else found.boxes.velocity.double().numpy()
    for row, (name, score) in enumerate(zip(found.names, found.scores.tolist())):
        colour = colour_of(name)
        array.add(name, CUBE, places[row], turns[row], values[row, 3:6], (*colour, 0.35))
        if text:
            above = places[row] + np.array([0, 0, values[row, 5] / 2 + 0.4])
            array.add(f"{name} text", TEXT, above, ONE, (0, 0, 0.6), (1, 1, 1, 0.9), text=f"{name} {score:.2f}")
        if velocity is not None and np.isfinite(velocity[row]).all():
            ends = np.array([values[row, :3], values[row, :3] + [*velocity[row], 0.0]])
            points = array.points(placement.points(ends))
            array.add(f"{name} velocity", ARROW, np.zeros(3), ONE, (0.1, 0.25, 0.3), (*colour, 0.9), points=points)
    return array.message()


def skeleton_markers(
    messages: Messages, found: Skeletons, placement: Placement, visible: float = 0.0, lifetime: float = 0.5
) -> Any:
    """Of each person the bones as lines and the joints as spheres, pale where they are hidden."""
    array = MarkerList(messages, placement.header, lifetime)
    joints = placement.points(found.keypoints.double().numpy())
    shown = found.visibility.double().numpy()
    bones = [(found.joint_names.index(a), found.joint_names.index(b)) for a, b in found.bones]
    red, green, blue = colour_of(found.class_name)
    for row in range(len(found)):
        drawn = np.isfinite(joints[row]).all(1) & (shown[row] >= visible)
        ends = [end for a, b in bones if drawn[a] and drawn[b] for end in (a, b)]
        lines = array.points(joints[row][ends])
        array.add("bones", LINE_LIST, np.zeros(3), ONE, (0.04, 0, 0), (red, green, blue, 0.9), points=lines)
        which = np.flatnonzero(drawn)
        shades = [
            messages.make("std_msgs/msg/ColorRGBA", r=1.0, g=1.0, b=1.0, a=0.9 if shown[row, j] > 0.5 else 0.35)
            for j in which
        ]
        spheres = array.points(joints[row][which])
        array.add("joints", SPHERE_LIST, np.zeros(3), ONE, (0.09,) * 3, (1, 1, 1, 0.9), points=spheres, colors=shades)
    return array.message()
