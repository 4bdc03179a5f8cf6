"""Files of HOTFormerLoc: official weights by rule, octrees, the stages of the network and the descriptors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.backbones.hotformer import PyramidLevel
from perception.backbones.octree_input import OctreeCloud, cylindrical, inside_unit, into_unit_cube, octree_cloud
from perception.io.importers.hotformerloc import importer as hotformerloc
from perception.models.hotformerloc import HOTFormerLoc
from perception.parity.checks import Check, Tolerance, close, equal
from perception.parity.extra_weights import extra_weights
from perception.points import PointBatch
from perception.sparse import Sites
from perception.sparse.morton import morton_keys

DESCRIPTOR = Tolerance(absolute=1e-5)
INPUT = Tolerance(absolute=1e-6)
STAGES = {
    "input": Tolerance(absolute=2e-5),
    "stem": Tolerance(absolute=2e-5),
    "octf": Tolerance(absolute=2e-4),
    "down": Tolerance(absolute=2e-4),
    "hotf": Tolerance(absolute=1e-3),
    "relay": Tolerance(absolute=1e-3),
}
KEY_BITS = 16  # of each axis in ocnn's keys; the batch is above


def check_place_model(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any], golden: Path) -> Iterator[Check]:
    """Every comparison that the file allows, in the order of the network."""
    state, digest = extra_weights(meta, golden)
    yield digest
    where = str(meta["key_list"])
    plan = hotformerloc.plan(state, f"hotformerloc-{meta['config_name']}", None, where)
    model = plan.make().eval()
    assert isinstance(model, HOTFormerLoc)
    report = plan.load(model, state, where)
    yield Check("import", True, 0.0, 0.0, len(report.mapped), f"{len(report.mapped)} keys, strictly")
    config = model.config
    ours = (config.depth, config.coordinates, config.normalise, sum(p.numel() for p in model.parameters()))
    wanted = tuple(meta[key] for key in ("octree_depth", "coordinates", "normalise", "params"))
    yield equal("configuration", np.array(ours, object), np.array(wanted, object))

    yield from _prepared(model, stored)
    names = sorted(key for key in stored if re.fullmatch(r"in_points(_\d+)?", key))
    yield Check("points", True, 0.0, 0.0, 0, "the input", tuple(names))
    cloud = octree_cloud(_batch([stored[name] for name in names]), config.depth, 1, config.border)
    yield from _counts(cloud, int(meta["full_depth"]), stored)
    kept: dict[str, Any] = {}
    hooks = [
        model.get_submodule(f"backbone.{path}").register_forward_hook(_keep(kept, path))
        for path in ("stem", "local", "down", "pyramid")
    ]
    with torch.inference_mode():
        descriptor = model(cloud)
    for hook in hooks:
        hook.remove()
    for name, depth, values in _stages(config.depth, cloud, kept):
        yield from _rows(name, depth, values, cloud, stored)
    for level in kept["pyramid"]:
        yield from _tokens(level, stored)
    yield close("descriptor", descriptor.numpy(), stored["descriptor"], DESCRIPTOR, keys=("descriptor",))


def _keep(kept: dict[str, Any], path: str) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        kept[path] = output

    return hook


def _batch(clouds: list[np.ndarray]) -> PointBatch:
    sample = np.repeat(np.arange(len(clouds)), [len(cloud) for cloud in clouds])
    return PointBatch(torch.from_numpy(np.concatenate(clouds)), torch.from_numpy(sample), len(clouds))


def _prepared(model: HOTFormerLoc, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """From the raw cloud to the points that the octree is made of, where the file has both."""
    if "in_raw" not in stored:
        return
    points = _batch([stored["in_raw"]])
    points = into_unit_cube(points) if model.config.normalise else points
    points = inside_unit(points, model.config.coordinates)
    key = "in_normalised_cartesian"
    if key in stored:
        yield close("normalised", points.xyz.numpy(), stored[key], INPUT, keys=(key,))
    points = cylindrical(points) if model.config.coordinates == "cylindrical" else points
    yield close("prepared points", points.xyz.numpy(), stored["in_points"], INPUT, keys=("in_raw",))


def _counts(cloud: OctreeCloud, full: int, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """ocnn's octree has every node down to the full depth, and below it the children of the occupied ones."""
    occupied = {level.depth: len(level) for level in cloud.octree.levels}
    whole = {depth: cloud.batch_size * 8**depth for depth in range(full + 1)}
    filled = [whole[d] if d < full else occupied[d] for d in range(cloud.depth + 1)]
    nodes = [whole[d] if d <= full else 8 * filled[d - 1] for d in range(cloud.depth + 1)]
    for key, ours in (("leaf_count_nempty_per_depth", filled), ("node_count_per_depth", nodes)):
        yield equal(key, ours, stored[key], (key,))


def _stages(depth: int, cloud: OctreeCloud, kept: Mapping[str, Any]) -> Iterator[tuple[str, int, Tensor]]:
    yield "input", depth, cloud.features
    yield "stem", depth - 2, kept["stem"]
    yield "octf", depth - 2, kept["local"]
    yield "down", depth - 3, kept["down"]
    for level in kept["pyramid"]:
        yield f"hotf_d{level.depth}", level.depth, level.features


def _rows(
    name: str, depth: int, values: Tensor, cloud: OctreeCloud, stored: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    sites, rows = cloud.octree.at(depth).sites, stored[f"{name}_rows"].astype(np.int64)
    yield equal(f"{name} nodes", len(values), stored[f"{name}_n"], (f"{name}_n",))
    keys, places = _official_keys(sites), sites.coordinates[:, [3, 2, 1, 0]].numpy()
    yield equal(f"{name} keys", keys[rows], stored[f"{name}_key"], (f"{name}_rows", f"{name}_key"))
    yield equal(f"{name} cells", places[rows], stored[f"{name}_xyzb"], (f"{name}_xyzb",))
    tolerance, found = STAGES[name.split("_")[0]], values.numpy()
    yield close(f"{name} features", found[rows], stored[f"{name}_feat"], tolerance, keys=(f"{name}_feat",))
    mean = found.mean(0, dtype=np.float64)
    yield close(f"{name} means", mean, stored[f"{name}_channel_mean"], tolerance, keys=(f"{name}_channel_mean",))


def _official_keys(sites: Sites) -> np.ndarray:
    return morton_keys(sites.coordinates, KEY_BITS).numpy()


def _tokens(level: PyramidLevel, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """Relay tokens of the windows in their order, those of windows without nodes included."""
    name = f"relay_d{level.depth}"
    keys = (f"{name}_rows", f"{name}_feat")
    yield equal(f"{name} windows", len(level.tokens), stored[f"{name}_n"], (f"{name}_n",))
    found = level.tokens.numpy()[stored[keys[0]].astype(np.int64)]
    yield close(f"{name} tokens", found, stored[keys[1]], STAGES["relay"], keys=keys)
