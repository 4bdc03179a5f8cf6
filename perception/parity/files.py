"""From a golden file to its comparisons: told apart by what is in the file, never by its name alone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.parity.checks import Check, failed
from perception.parity.detection import check_detection
from perception.parity.flow import check_flow
from perception.parity.metrics import check_kitti_ap, check_overlaps
from perception.parity.places import check_place_model
from perception.parity.task_metrics import check_places, check_scene_flow, check_trees
from perception.parity.trees import check_tree_model


def check_file(path: Path, golden: Path) -> Iterator[Check]:
    """All comparisons of one file; stored outputs that none of them consumed count as failed."""
    stored, meta = read_golden(path)
    if "frames" in meta and "result" in meta:
        yield from check_kitti_ap(meta)
        return
    if "stages" in meta:
        checks = check_detection(stored, meta, golden)
    elif "flow_total" in stored or "flow_total_0" in stored:
        checks = check_flow(stored, meta, golden)
    elif "descriptor" in stored and "octree_depth" in meta:
        checks = check_place_model(stored, meta, golden)
    elif "semantic_logprob" in stored and "in_coords_bxyz" in stored:
        checks = check_tree_model(stored, meta, golden)
    elif "pairs_iou_bev" in stored:
        checks = check_overlaps(stored, meta)
    elif "n_frames" in stored and "gt_flow_0" in stored:
        checks = check_scene_flow(stored, meta)
    elif any(key.endswith("_db0_desc") for key in stored):
        checks = check_places(stored, meta)
    elif any(key.endswith("_pred_ids") for key in stored):
        checks = check_trees(stored, meta)
    else:
        raise PerceptionError(
            f"{path.name} is of a form that no model or metric of the library reads",
            "stages of a model in the catalogue, box overlaps, KITTI frames, or metrics of trees, places or scene flow",
            "`perception models` lists the models",
        )
    consumed: set[str] = set()
    for check in checks:
        consumed.update(check.keys)
        yield check
    for key in sorted(set(stored) - consumed):
        yield failed(key, "stored, but not compared", (key,))


def read_golden(path: Path) -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts of a .npz, or the facts of a .json."""
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            if not isinstance(content, dict):
                raise ValueError("no mapping")
            return {}, content
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        return {key: value for key, value in arrays.items() if key != "meta"}, json.loads(str(arrays["meta"]))
    except FileNotFoundError:
        raise PerceptionError(f"no file {path}", "a golden .npz or .json file") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PerceptionError(f"{path} cannot be read: {error}", "a golden .npz with a meta entry, or .json") from None
