"""DeFlow and FastFlow3D against stored answers of OpenSceneFlow's own modules, through the importer's key rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_weights import drawn

from perception.flow_pipeline import perceive_flow
from perception.io.importers.opensceneflow import importer as opensceneflow
from perception.models.flow_model import FlowModel
from perception.points import PointCloud
from perception.scan_pair import ScanPair

STORED = Path(__file__).resolve().parents[1] / "golden" / "dense_scene_flow.npz"
RANGE = (-12.8, -12.8, -3.0, 12.8, 12.8, 3.0)


def imported(name: str, arrays: dict[str, np.ndarray]) -> FlowModel:
    shapes = [line.split(" ", 1) for line in arrays[f"{name}/keys"].tolist()]
    state = {key: torch.from_numpy(np.asarray(drawn(key, tuple(json.loads(shape))))) for key, shape in shapes}
    plan = opensceneflow.plan(state, None, None, "the stored keys", {})
    assert plan.name == name
    model = replace(plan, config=replace(plan.config, point_range=RANGE)).make().eval()
    report = plan.load(model, state, "the stored keys")
    assert len(report.mapped) == len(shapes)
    assert isinstance(model, FlowModel)
    return model


@pytest.mark.parametrize("name", ["deflow", "fastflow3d"])
def test_equal_to_the_official_modules(name: str) -> None:
    arrays = dict(np.load(STORED))
    model, seen = imported(name, arrays), {}
    model.backbone.register_forward_hook(lambda module, given, out: seen.update(first=given[0], after=out))
    pair = ScanPair(PointCloud(arrays["first"]), PointCloud(arrays["second"]), arrays["pose"])
    (flow,) = perceive_flow(model, [pair])
    y, x = arrays[f"{name}/cells"].astype(np.int64).T
    np.testing.assert_allclose(seen["first"][0].double().sum((1, 2)), arrays[f"{name}/first_sum"], atol=2e-3, rtol=1e-5)
    np.testing.assert_allclose(seen["after"][0, :, y, x].T, arrays[f"{name}/after"], atol=2e-5, rtol=1e-4)
    expected = arrays["ego_flow"].copy()
    expected[arrays[f"{name}/valid"]] += arrays[f"{name}/flow"]
    np.testing.assert_allclose(flow.flow, expected, atol=3e-5, rtol=1e-4)
