"""Files of detection models: official weights by rule, inputs, stages, suppression calls and final boxes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError
from perception.io.importers.openpcdet import importer as openpcdet
from perception.models.catalogue import MODELS
from perception.models.detector import Detector
from perception.parity.checks import Check, equal
from perception.parity.matching import FINAL_DISTANCE, matched
from perception.parity.probes import PROBES
from perception.parity.stages import captured, compare_stage
from perception.points import PointBatch
from perception.results import Detections, Skeletons
from perception.sparse import HardVoxels

FINAL_COUNT = 0.01


def check_detection(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any], golden: Path) -> Iterator[Check]:
    """Every comparison that the file allows, in the order of the network."""
    name = model_name(meta)
    model = build(name, meta)
    state, digest = official_weights(meta, golden)
    yield digest
    report = openpcdet.load_official(model, name, state, str(meta["key_list"]))
    yield Check("import", True, 0.0, 0.0, len(report.mapped), f"{len(report.mapped)} keys, strictly")

    points = _point_batch(stored["in/points"], int(meta["batch_size"]))
    probe = PROBES[name]
    with torch.inference_mode(), captured(model, probe.paths) as stages:
        voxels = model.voxelise(points)
        yield from _check_voxels(probe.voxels(voxels), stored)
        predictions = model(voxels)
        results = model.results(predictions)
        stages.update(probe.stages(model, predictions, stored))
        stages.update(probe.derived(model, stages))
        further = list(probe.further(model, predictions, stored))
    yield from further
    for stage, facts in meta["stages"].items():
        if stage in probe.own or (facts["kind"] == "table" and stage not in stages):  # compared by the probe
            continue
        # An array under the stage's own name is the stage itself.
        names = [key for key in stored if key == stage or key.rsplit("/", 1)[0] == stage]
        arrays = {key[len(stage) + 1 :]: stored[key] for key in names}
        yield from compare_stage(stage, stages.get(stage), arrays, facts)
    for number, facts in enumerate(meta["nms"]):
        yield from probe.suppression(number, facts, stored, stages)
    for sample, result in enumerate(results):
        boxes = result.detections if isinstance(result, Skeletons) else result
        yield from _check_final(sample, boxes, stored, probe.final_share)
        yield from probe.final(sample, result, stored)


def model_name(meta: Mapping[str, Any]) -> str:
    """The catalogue's name of the model whose official configuration the file was made with."""
    wanted = "/".join(Path(meta["config"]).parts[-2:])
    for name, entry in MODELS.items():
        if wanted in entry.official.values():
            return name
    raise PerceptionError(
        f"the file is of {meta['model']!r} ({wanted})", "a model of the catalogue", "`perception models`"
    )


def build(name: str, meta: Mapping[str, Any]) -> Detector:
    """The catalogue's model, with the file's score threshold."""
    entry = MODELS[name]
    model = entry.make(PROBES[name].configure(entry.defaults, meta)).eval()
    assert isinstance(model, Detector)
    classes = PROBES[name].classes(meta)
    if classes != model.classes:
        raise PerceptionError(f"classes {classes}", f"{model.classes}, those of {name!r}")
    for key, ours in (("point_cloud_range", model.config.point_range), ("voxel_size", model.config.voxel_size)):
        if not np.allclose(meta[key], ours, atol=1e-4):
            raise PerceptionError(f"{key} {meta[key]}", f"{ours}, that of {name!r}")
    return model


def official_weights(meta: Mapping[str, Any], golden: Path) -> tuple[dict[str, Tensor], Check]:
    """The stand-in checkpoint that the file's rule generates, and the check of its digest where one is published."""
    rule = _load_rule(golden / "golden_weights.py")
    keys = golden / "keys" / Path(meta["key_list"]).name
    if not keys.is_file():
        raise PerceptionError(
            f"no file {keys}", "the list of official keys", "point --golden to the folder above keys/"
        )
    arrays = rule.state_dict_from_list(str(keys), meta["salt"])
    hasher = hashlib.sha256()
    for key, value in arrays.items():
        hasher.update(key.encode())
        hasher.update(np.ascontiguousarray(value).tobytes())
    table = golden / "detection_keypoints" / "weights_sha256.json"
    published = json.loads(table.read_text()) if table.is_file() else {}
    wanted = published.get(f"{Path(meta['key_list']).stem}:{meta['salt']}")
    state = {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}
    if wanted is None:
        return state, Check("weights digest", True, 0.0, 0.0, 0, "none is published for this salt")
    return state, equal("weights digest", hasher.hexdigest(), wanted["sha256"])


def _load_rule(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("golden_weights", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise PerceptionError(
            f"no file {path}", "the rule that generates stand-in weights", "point --golden to its folder"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _point_batch(rows: np.ndarray, batch_size: int) -> PointBatch:
    sample = torch.from_numpy(rows[:, 0].astype(np.int64))
    return PointBatch(torch.from_numpy(rows[:, 1:].copy()), sample, batch_size)


def _check_voxels(voxels: Any, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    yield Check("points", True, 0.0, 0.0, 0, "the input", ("in/points",))
    if "in/voxels" in stored and isinstance(voxels, HardVoxels):
        for ours, key in (
            (voxels.points, "voxels"),
            (voxels.coordinates, "voxel_coords"),
            (voxels.counts, "voxel_num_points"),
        ):
            yield equal(f"voxeliser {key}", ours.numpy(), stored[f"in/{key}"], (f"in/{key}",))


def _check_final(sample: int, result: Detections, stored: Mapping[str, np.ndarray], least: float) -> Iterator[Check]:
    """Boxes end to end: each stored box needs one of ours of the same class within a centimetre."""
    name = f"final{sample}"
    boxes, scores = stored[f"{name}/pred_boxes"], stored[f"{name}/pred_scores"]
    labels = stored[f"{name}/pred_labels"]
    keys = (f"{name}/pred_boxes", f"{name}/pred_scores", f"{name}/pred_labels")
    allowed = max(FINAL_COUNT * len(boxes), 0.0)
    surplus = abs(len(result) - len(boxes))
    yield Check(f"{name} count", surplus <= allowed, surplus, allowed, 1, f"{len(result)} of {len(boxes)}")
    if not len(boxes):
        yield Check(f"{name} boxes", len(result) == 0, float(len(result)), 0.0, 0, "none stored", keys)
        return
    found = matched(result, boxes, scores, labels)
    share = float(found.mean())
    missing, bound = 1 - share, 1 - least
    note = f"{int(found.sum())} of {len(boxes)} within {FINAL_DISTANCE} m"
    yield Check(f"{name} boxes", missing <= bound, missing, bound, boxes.size + scores.size + labels.size, note, keys)
