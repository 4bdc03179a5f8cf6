"""People's skeletons over the points of a cloud, in perspective and from above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from perception.datasets.keypoint_attributes import KEYPOINTS, VISIBLE
from perception.datasets.sample import Objects
from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import Skeletons
from perception.view import colours
from perception.view.birds_eye import birds_eye
from perception.view.colours import Theme
from perception.view.marks import seen_from_origin
from perception.view.perspective import NEAR, Camera, perspective

Path = str | PathLike[str] | None
# Left and right are told apart by colour, as mixing them up is the usual mistake.
LEFT, RIGHT, MIDDLE = "#4cc9f0", "#ff9f1c", "#ffd6e8"
SIZE = (1560, 900)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn of people: ``bones`` (B, 2, 3) and ``joints`` (P, 3) in metres with a colour each; ``hidden`` (B,)
    and ``unseen`` (P,) bool for those that the sensor did not see."""

    bones: np.ndarray
    bone_colours: list[str]
    hidden: np.ndarray
    joints: np.ndarray
    joint_colours: list[str]
    unseen: np.ndarray


def skeletons_in_perspective(
    cloud: PointCloud,
    people: Skeletons,
    labels: Objects | None = None,
    path: Path = None,
    *,
    theme: str = "dark",
    eye: tuple[float, float, float] | None = None,
    target: tuple[float, float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a cloud with people's boxes, bones and joints as a camera sees them, and write it to ``path`` if given.

    ``eye`` and ``target`` place the camera, metres relative to the cloud's origin; by default it looks at the people
    from the sensor's side. Bones of joints that the sensor did not see are dashed, those of labels white.
    """
    standard = _towards(cloud, people) if len(people) else (None, None)
    eye, target = eye or standard[0], target or standard[1]
    figure = perspective(
        cloud, people.detections, labels, theme=theme, eye=eye, target=target, size=SIZE, title=title or "People"
    )
    if eye is not None and target is not None:
        camera = Camera(np.array(eye, float), np.array(target, float), SIZE)

        def project(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            seen = camera.look(places)
            ahead = seen[..., 2] > NEAR
            return camera.project(np.where(ahead[..., None], seen, 1.0)), ahead

        _draw(figure.axes[0], people, labels, project, colours.theme(theme))
    return _saved(figure, path, theme)


def skeletons_from_above(
    cloud: PointCloud,
    people: Skeletons,
    labels: Objects | None = None,
    path: Path = None,
    *,
    theme: str = "dark",
    title: str | None = None,
) -> Figure:
    """The same from above, of the part of the cloud around the people."""
    extent = None
    if len(people):
        centres = people.boxes.centre[:, :2].cpu().numpy()
        low, high = centres.min(0) - 4, centres.max(0) + 4
        half = np.maximum((high - low) / 2, 6)
        half = np.maximum(half, half[::-1] / 2.5)
        middle = (low + high) / 2
        extent = (middle[0] - half[0], middle[0] + half[0], middle[1] - half[1], middle[1] + half[1])
    figure = birds_eye(cloud, people.detections, labels, theme=theme, extent=extent, title=title or "People from above")

    def project(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return places[..., :2], np.ones(places.shape[:-1], bool)

    _draw(figure.axes[0], people, labels, project, colours.theme(theme))
    return _saved(figure, path, theme)


def _towards(cloud: PointCloud, people: Skeletons) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Eye and target: at the people, from where the sensor is if the cloud has one, a little above."""
    centres = people.boxes.centre[:20].cpu().double().numpy()
    target = np.median(centres, axis=0)
    spread = float(np.linalg.norm(centres - target, axis=1).max())
    away = -target[:2] if seen_from_origin(cloud) and np.linalg.norm(target[:2]) > 1 else np.array([-1.0, -0.7])
    away = away / np.linalg.norm(away)
    distance = float(np.clip(1.4 * spread + 4, 4, 60))
    eye = target + distance * np.array([0.94 * away[0], 0.94 * away[1], 0.34])
    return (float(eye[0]), float(eye[1]), float(eye[2])), (float(target[0]), float(target[1]), float(target[2]))


def _draw(
    axes: Axes,
    people: Skeletons,
    labels: Objects | None,
    project: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    look: Theme,
) -> None:
    """Bones, then joints; labels of the same skeleton under them."""
    names, bones = people.joint_names, people.bones
    groups = []
    if labels is not None and KEYPOINTS in labels.attributes and labels.attributes[KEYPOINTS].shape[1] == len(names):
        seen = np.asarray(labels.attributes.get(VISIBLE, np.ones(labels.attributes[KEYPOINTS].shape[:2])), float)
        groups.append(_drawn(labels.attributes[KEYPOINTS], seen, names, bones, look.truth))
    groups.append(_drawn(people.keypoints.cpu().numpy(), people.visibility.cpu().numpy(), names, bones))
    for order, drawn in enumerate(groups):
        ends, ahead = project(drawn.bones)
        for hidden, style in ((True, (0, (2, 1.5))), (False, "solid")):
            rows = np.flatnonzero(ahead.all(1) & (drawn.hidden == hidden))
            tint = [drawn.bone_colours[row] for row in rows]
            lines = LineCollection(list(ends[rows]), colors=tint, linewidths=2.0, linestyles=[style], zorder=6 + order)
            lines.set_path_effects([withStroke(linewidth=3.2, foreground=look.background)])
            axes.add_collection(lines)
        place, ahead = project(drawn.joints)
        fill = [look.background if u else c for c, u in zip(drawn.joint_colours, drawn.unseen)]
        shown = np.flatnonzero(ahead)
        axes.scatter(
            place[shown, 0],
            place[shown, 1],
            s=14,
            c=[fill[row] for row in shown],
            edgecolors=[drawn.joint_colours[row] for row in shown],
            linewidths=1.0,
            zorder=8 + order,
        )


def _drawn(
    keypoints: np.ndarray,
    visibility: np.ndarray,
    names: Sequence[str],
    bones: Sequence[tuple[str, str]],
    colour: str | None = None,
) -> Drawn:
    """Of keypoints (N, J, 3) what has a finite place; one ``colour`` for all, or by side."""
    tints = [colour or _side(name) for name in names]
    known = np.isfinite(keypoints).all(2)
    seen = np.nan_to_num(visibility) > 0.5
    ends = np.array([(names.index(a), names.index(b)) for a, b in bones], np.int64).reshape(-1, 2)
    person, bone = np.nonzero(known[:, ends].all(2))
    owner, joint = np.nonzero(known)
    return Drawn(
        keypoints[person[:, None], ends[bone]].astype(np.float64),
        [tints[ends[b, 1]] if tints[ends[b, 0]] == MIDDLE else tints[ends[b, 0]] for b in bone],
        ~seen[person[:, None], ends[bone]].all(1),
        keypoints[owner, joint].astype(np.float64),
        [tints[j] for j in joint],
        ~seen[owner, joint],
    )


def _side(name: str) -> str:
    return LEFT if name.startswith("left") else RIGHT if name.startswith("right") else MIDDLE


def _saved(figure: Figure, path: Path, theme: str) -> Figure:
    if path is not None:
        with write_atomically(path) as handle:
            figure.savefig(handle, format="png", facecolor=colours.theme(theme).background)
    return figure
