"""The two attributes of labelled people that hold their joints, and what augmentation does to them.

``keypoints`` (N, J, 3) metres in the frame of the cloud, NaN where not labelled; ``keypoints_visible`` (N, J).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.keypoints import Skeleton

KEYPOINTS, VISIBLE = "keypoints", "keypoints_visible"


def with_moved_keypoints(objects: Objects, matrix: np.ndarray, offset: np.ndarray) -> Objects:
    """Every joint p at matrix p + offset, in float64 and rounded once."""
    if KEYPOINTS not in objects.attributes:
        return objects
    keypoints = objects.attributes[KEYPOINTS]
    moved = (keypoints.astype(np.float64) @ matrix.T + offset).astype(keypoints.dtype)
    return replace(objects, attributes={**objects.attributes, KEYPOINTS: moved})


def with_sides_swapped(objects: Objects, skeleton: Skeleton | None, identifier: str) -> Objects:
    """Left joints as right ones and the reverse, as a mirror makes them; without a skeleton no joints at all.

    Raises PerceptionError naming the frame where the labels are of another skeleton.
    """
    if KEYPOINTS not in objects.attributes:
        return objects
    if skeleton is None:
        kept = {name: values for name, values in objects.attributes.items() if name not in (KEYPOINTS, VISIBLE)}
        return replace(objects, attributes=kept)
    joints, swapped = objects.attributes[KEYPOINTS].shape[1], skeleton.mirrored
    if joints != len(swapped):
        raise PerceptionError(
            f"{identifier}: {joints} joints to mirror",
            f"{len(swapped)}, those of the skeleton",
            "give the model the skeleton of the labels (overrides: skeleton)",
        )
    found = {name: objects.attributes[name][:, swapped] for name in (KEYPOINTS, VISIBLE) if name in objects.attributes}
    return replace(objects, attributes={**objects.attributes, **found})


def relative_joints(objects: Objects, centres: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Both attributes with the joints relative to ``centres`` (N, 3), or None where there are none."""
    keypoints, visible = objects.attributes.get(KEYPOINTS), objects.attributes.get(VISIBLE)
    if keypoints is None:
        return None, None
    visible = np.ones(keypoints.shape[:2], bool) if visible is None else visible
    return (keypoints - centres[:, None]).astype(np.float32), visible


def joined_joints(
    counts: Sequence[int], keypoints: Sequence[np.ndarray | None], visible: Sequence[np.ndarray | None]
) -> dict[str, np.ndarray]:
    """Both attributes of several recordings with ``counts`` objects as one; empty where none has them.

    Objects of recordings without them get joints without labels. Raises PerceptionError for two skeletons.
    """
    shapes = {values.shape[1:] for values in keypoints if values is not None}
    if not shapes:
        return {}
    if len(shapes) > 1:
        raise PerceptionError(f"keypoints of the shapes {sorted(shapes)}", "one skeleton", "build one database of each")
    joints = shapes.pop()[0]
    nothing = [np.full((count, joints, 3), np.nan, np.float32) for count in counts]
    hidden = [np.zeros((count, joints), bool) for count in counts]
    return {
        KEYPOINTS: np.concatenate([n if k is None else k for k, n in zip(keypoints, nothing)]),
        VISIBLE: np.concatenate([h if v is None else v for v, h in zip(visible, hidden)]),
    }
