"""mmdet3d's ``Det3DDataSample`` and ours: detections and labelled objects, there and back.

Results of 0.x are mappings of ``boxes_3d``, ``scores_3d`` and ``labels_3d``, those of 1.x attributes of an
``InstanceData``, so that the ages are told apart by their form, and boxes of 0.x by the sizes of vehicles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from perception.boxes import Boxes3D
from perception.datasets.sample import Objects
from perception.errors import PerceptionError, missing_extra
from perception.interop.info_boxes import Convention, find_convention, from_instances, to_instances
from perception.results import Detections

FORMS = "a Det3DDataSample of mmdet3d 1.x, or a result of 0.x: boxes_3d, scores_3d and labels_3d"


def detections_of(result: Any, classes: Sequence[str], convention: Convention = "auto") -> Detections:
    """What a model of mmdet3d found in one cloud, best first.

    ``result`` is a Det3DDataSample, its ``pred_instances_3d`` or a result of mmdet3d 0.x; ``classes`` are the model's,
    in its order. ``convention`` overrides what is known of the boxes: 1.x writes ``length_first``, and 0.x
    ``width_first``. Raises PerceptionError for boxes that are not in the lidar frame and labels without a class.
    """
    found = result.get("pts_bbox", result) if isinstance(result, Mapping) else result
    found = getattr(found, "pred_instances_3d", found)
    if isinstance(found, Mapping):
        boxes, scores, labels = (_entry(found, key) for key in ("boxes_3d", "scores_3d", "labels_3d"))
    else:
        boxes, scores, labels = (_attribute(found, key) for key in ("bboxes_3d", "scores_3d", "labels_3d"))
        convention = "length_first" if convention == "auto" else convention
    labels = torch.as_tensor(labels).detach().cpu().long()
    _check_labels(labels, classes)
    names = np.array([classes[label] for label in labels.tolist()], dtype=str)
    scores = torch.as_tensor(scores).detach().cpu().float()
    order = scores.argsort(descending=True, stable=True)
    return Detections(_boxes(boxes, names, convention), scores, labels, tuple(classes)).select(order)


def objects_of(sample: Any, classes: Sequence[str], convention: Convention = "auto") -> Objects:
    """The labels of a Det3DDataSample of a training pipeline (``gt_instances_3d``)."""
    found = getattr(sample, "gt_instances_3d", sample)
    boxes, labels = (_attribute(found, key) for key in ("bboxes_3d", "labels_3d"))
    labels = torch.as_tensor(labels).detach().cpu().long()
    _check_labels(labels, classes)
    names = np.array([classes[label] for label in labels.tolist()], dtype=str)
    return Objects(_boxes(boxes, names, "length_first" if convention == "auto" else convention), names)


def data_sample_of(detections: Detections) -> Any:
    """A Det3DDataSample whose ``pred_instances_3d`` mmdet3d's metrics and pictures take; labels keep their order.

    Raises PerceptionError that names the extra where mmdet3d is not installed.
    """
    sample, instances = _empty_sample()
    instances.bboxes_3d = _lidar_boxes(detections.boxes)
    instances.scores_3d = detections.scores.clone()
    instances.labels_3d = detections.labels.clone()
    sample.pred_instances_3d = instances
    return sample


def labelled_sample_of(objects: Objects, classes: Sequence[str]) -> Any:
    """A Det3DDataSample with ``gt_instances_3d``, for mmdet3d's losses; objects of other classes are left out."""
    sample, instances = _empty_sample()
    rows = np.isin(objects.names, list(classes))
    kept = objects.select(rows)
    instances.bboxes_3d = _lidar_boxes(kept.boxes)
    instances.labels_3d = torch.tensor([list(classes).index(name) for name in kept.names], dtype=torch.int64)
    sample.gt_instances_3d = instances
    return sample


def _empty_sample() -> tuple[Any, Any]:
    try:
        from mmdet3d.structures import Det3DDataSample
        from mmengine.structures import InstanceData
    except ImportError:
        raise missing_extra("mmdet3d", "mmdet3d") from None
    return Det3DDataSample(), InstanceData()


def _lidar_boxes(boxes: Boxes3D) -> Any:
    from mmdet3d.structures import LiDARInstance3DBoxes

    velocity = None if boxes.velocity is None else boxes.velocity.detach().cpu().numpy()
    rows = to_instances(boxes.values.detach().cpu().numpy(), velocity)
    return LiDARInstance3DBoxes(torch.from_numpy(rows).float(), box_dim=rows.shape[1])


def _boxes(boxes: Any, names: np.ndarray, convention: Convention) -> Boxes3D:
    kind = type(boxes).__name__
    if kind.startswith(("Camera", "Depth")):
        raise PerceptionError(
            f"boxes of the class {kind}, which are not in the lidar frame",
            "LiDARInstance3DBoxes",
            "convert them there first: boxes.convert_to(Box3DMode.LIDAR, rt_mat=...)",
        )
    rows = torch.as_tensor(getattr(boxes, "tensor", boxes)).detach().cpu().double().numpy()
    if rows.ndim != 2 or rows.shape[1] not in (7, 9):
        raise PerceptionError(f"boxes of shape {rows.shape}", "(N, 7), or (N, 9) with velocities")
    if convention == "auto":
        convention = find_convention(rows, np.char.lower(names), "the result") if len(rows) else "width_first"
    values, velocity = from_instances(rows, convention)
    moving = None if velocity is None else torch.from_numpy(velocity).float()
    return Boxes3D(torch.from_numpy(values).float(), moving)


def _check_labels(labels: torch.Tensor, classes: Sequence[str]) -> None:
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if len(outside):
        raise PerceptionError(
            f"the label {int(outside[0])}", f"0 to {len(classes) - 1}: {', '.join(classes)}", "pass the model's classes"
        )


def _attribute(found: Any, name: str) -> Any:
    if not hasattr(found, name):
        raise PerceptionError(f"{type(found).__name__} without {name}", FORMS)
    return getattr(found, name)


def _entry(found: Mapping[str, Any], name: str) -> Any:
    if name not in found:
        raise PerceptionError(f"a mapping of {', '.join(map(str, found))[:80] or 'nothing'} without {name}", FORMS)
    return found[name]
