"""Files of SSF: official weights by rule, two scans, the stages of the network and the flow of every point."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.errors import PerceptionError
from perception.io.importers.opensceneflow import importer as opensceneflow
from perception.models.catalogue import MODELS
from perception.models.flow_model import FlowPredictions
from perception.models.ssf import SSF
from perception.parity.checks import Check, Tolerance, close, equal, failed
from perception.parity.extra_weights import extra_weights
from perception.parity.stages import Stage, captured
from perception.points import PointCloud
from perception.scan_pair import ScanPair

FLOW = Tolerance(absolute=3e-4)
FEATURES = Tolerance(absolute=1e-4, relative=1e-4)
INPUTS = ("in_pc0", "in_pc1", "in_pose0", "in_pose1")


def check_flow(stored: Mapping[str, np.ndarray], meta: Mapping[str, Any], golden: Path) -> Iterator[Check]:
    """Every comparison that the file allows, in the order of the network, under both look-ups of the offsets."""
    state, digest = extra_weights(meta, golden)
    yield digest
    made = opensceneflow.plan(state, _name(meta), None, str(meta["key_list"]), {})
    model = made.make().eval()
    assert isinstance(model, SSF)
    report = made.load(model, state, str(meta["key_list"]))
    yield Check("import", True, 0.0, 0.0, len(report.mapped), f"{len(report.mapped)} keys, strictly")

    yield Check("scans", True, 0.0, 0.0, 0, "the input", INPUTS)
    with torch.inference_mode(), captured(model, _paths(model)) as stages:
        voxels = model.voxelise(model.points(_pairs(stored)))
        official = model(voxels)
        model.head.lookup = "point"
        repaired = model(voxels)
    yield from _voxels(official, stored)
    yield from _encoder(stages["encoder"].values, stored, voxels.first.voxel.numpy(), voxels.second.voxel.numpy())
    for name in sorted({match[1] for key in stored if (match := re.fullmatch(r"(\w+)_feat", key))}):
        yield from _rows(name, stages.get(name), stored)
    rows = stored["unet_rows"]
    out = stages["backbone"].values[rows]
    yield close("unet_out", out, stored["unet_out"], FEATURES, keys=("unet_rows", "unet_out"))
    yield from _flows(model, official, repaired, stored)


def _name(meta: Mapping[str, Any]) -> str:
    """The catalogue's model whose range and voxels the file has."""
    wanted = meta["config"]
    for name, entry in MODELS.items():
        if isinstance(entry.defaults, type(MODELS["ssf"].defaults)):
            fits = np.allclose(entry.defaults.point_range, wanted["point_cloud_range"])
            if fits and np.allclose(entry.defaults.voxel_size, wanted["voxel_size"]):
                return name
    raise PerceptionError(
        f"the file is of {meta['model']!r} with {wanted}", "a model of the catalogue", "`perception models`"
    )


def _pairs(stored: Mapping[str, np.ndarray]) -> list[ScanPair]:
    """The scans with their padding: points that are not finite take no part."""
    poses = zip(stored["in_pose0"].astype(np.float64), stored["in_pose1"].astype(np.float64))
    motions = [np.linalg.inv(second) @ first for first, second in poses]
    for motion in motions:
        motion[3] = (0, 0, 0, 1)
    return [
        ScanPair(PointCloud(first), PointCloud(second), motion)
        for first, second, motion in zip(stored["in_pc0"], stored["in_pc1"], motions)
    ]


def _paths(model: SSF) -> dict[str, str]:
    paths = {"encoder": "encoder", "backbone": "backbone", "conv_input": "backbone.stem", "dec1": "backbone.out"}
    for number in range(len(model.backbone.levels)):
        paths[f"enc{number + 1}"] = f"backbone.levels.{number}"
    for number in range(len(model.backbone.ups)):
        paths[f"dec{number + 2}"] = f"backbone.ups.{number}"
    return paths


def _voxels(predictions: FlowPredictions, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    coordinates = predictions.voxels.coordinates.numpy()
    yield equal("num_voxels", len(coordinates), stored["num_voxels"], ("num_voxels",))
    yield equal("voxel coordinates", coordinates, stored["voxel_coords_bzyx"], ("voxel_coords_bzyx",))


def _encoder(
    features: np.ndarray, stored: Mapping[str, np.ndarray], first: np.ndarray, second: np.ndarray
) -> Iterator[Check]:
    rows, sides = stored["vfe_rows"], np.split(features, 2, 1)
    for name, side in zip(("vfe_pc0", "vfe_pc1"), sides):
        yield close(name, side[rows], stored[name], FEATURES, keys=("vfe_rows", name))
        key = f"{name}_all_sum_per_channel"
        # The sum of so many features, each within its own tolerance.
        allowed = Tolerance(absolute=float((1e-5 + 1e-5 * np.abs(side)).sum(0).max()))
        yield close(f"{name} sums", side.sum(0, dtype=np.float64), stored[key], allowed, keys=(key,))
    virtual = [len(features) - len(np.unique(voxel)) for voxel in (first, second)]
    key = "num_virtual_voxels_pc0_pc1"
    yield equal(key, virtual, stored[key], (key,))


def _rows(name: str, stage: Stage | None, stored: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """Sampled rows, found by their coordinates."""
    keys = tuple(f"{name}_{part}" for part in ("num", "coords_bzyx", "feat"))
    if stage is None or stage.coordinates is None:
        yield failed(name, "our model does not show this stage", keys)
        return
    yield equal(f"{name} sites", len(stage.coordinates), stored[keys[0]], keys[:1])
    place = {tuple(row): number for number, row in enumerate(stage.coordinates.tolist())}
    found = [place.get(tuple(row), -1) for row in stored[keys[1]].tolist()]
    yield equal(f"{name} coordinates", np.array(found) < 0, np.zeros(len(found), bool), keys[1:2])
    yield close(f"{name} features", stage.values[found], stored[keys[2]], FEATURES, keys=keys[2:])


def _flows(
    model: SSF, official: FlowPredictions, repaired: FlowPredictions, stored: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    pairs = official.voxels.pairs
    sizes, before = pairs.sizes[0], 0
    totals = [[result.flow.numpy() for result in model.results(found)] for found in (official, repaired)]
    rows = official.rows.numpy()
    for number, size in enumerate(sizes):
        end = "" if f"valid_idx_{number}" not in stored and len(sizes) == 1 else f"_{number}"
        chosen = (rows >= before) & (rows < before + size)
        key = f"valid_idx{end}"
        yield equal(key, rows[chosen] - before, stored[key], (key,))
        ego = pairs.ego_flow[before : before + size].numpy()
        for key, ours in (
            (f"flow_residual{end}", official.residual.numpy()[chosen]),
            (f"flow_fixed{end}", repaired.residual.numpy()[chosen]),
            (f"pose_flow{end}", ego),
            (f"flow_total{end}", totals[0][number]),
            (f"flow_total_fixed{end}", totals[1][number]),
        ):
            yield close(key, ours, stored[key], FLOW, keys=(key,))
        before += size
