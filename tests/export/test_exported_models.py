"""Every exportable model as ONNX, on full and nearly empty clouds, against torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx
import torch
from small_models import SMALL, build, cloud, clouds

from perception.errors import PerceptionError
from perception.export.graphs.build import graphs_of
from perception.export.manifest import read_manifest
from perception.export.runner import ExportedDetector
from perception.export.write import Order, export_model
from perception.models.catalogue import MODELS
from perception.models.loading import load
from perception.pipeline import perceive


@pytest.mark.parametrize("name", sorted(SMALL))
def test_boxes_are_torchs(name: str, tmp_path: Path) -> None:
    model, header = build(name)
    manifest = export_model(model, header, tmp_path / "out", Order(clouds=clouds()))
    check = manifest.check
    assert check is not None
    assert check.boxes > 50
    assert check.unmatched == 0
    assert check.worst_box < 1e-3
    exported = load(tmp_path / "out")
    assert isinstance(exported, ExportedDetector)
    assert exported.classes == model.classes
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["export.json", *(segment.file for segment in manifest.segments)]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("pointpillars", {"class_by_class": True, "candidates": 50}),
        ("centerpoint-nuscenes-pillars", {"radii": (2.0,) * 6}),
    ],
)
def test_other_ways_of_suppression(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model, header = build(name)
    model.config = replace(model.config, selection=replace(model.config.selection, **changes))
    given = [cloud(3000)]
    manifest = export_model(model, header, tmp_path / "out", Order(clouds=given))
    assert manifest.check is not None
    assert manifest.check.boxes > 20
    assert manifest.check.unmatched == 0
    (ours,), (theirs,) = (perceive(part, given) for part in (model, load(tmp_path / "out")))
    assert ours.names == theirs.names
    torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-4, rtol=1e-4)


def test_files_hold_standard_operators_and_nothing_of_this_machine(tmp_path: Path) -> None:
    model, header = build("second")
    manifest = export_model(model, header, tmp_path / "out", Order(clouds=[cloud(3000)]))
    path = tmp_path / "out" / manifest.segments[0].file
    graph = onnx.load(str(path))
    assert {node.domain for node in graph.graph.node} == {""}
    assert [part.version for part in graph.opset_import if part.domain == ""] == [18]
    for text in (str(Path(__file__).parents[2]), "site-packages", "stack_trace"):
        assert text.encode() not in path.read_bytes()
    rows = {spec.name: spec.shape for spec in manifest.segments[0].inputs}
    assert rows["table0"] == ("rows0", 27)
    assert rows["points"] == ("rows0", 5, 4)


def test_batches_are_singles(tmp_path: Path) -> None:
    model, header = build("pointpillars-small")
    export_model(model, header, tmp_path / "out", Order(clouds=[cloud(3000)]))
    exported = load(tmp_path / "out")
    several = [cloud(1000), cloud(0), cloud(500, seed=3)]
    for alone, together in zip(several, perceive(exported, several)):
        (single,) = perceive(exported, [alone])
        assert torch.equal(single.scores, together.scores)  # type: ignore[union-attr]


def test_exporting_leaves_the_model_as_it_was() -> None:
    model, _ = build("pointpillars")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    graphs_of(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    "name",
    ["voxelnext", "transfusion-lidar", "voxel-rcnn-car", "pv-rcnn", "dsvt-voxel", "dsvt-pillar-nuscenes", "voxelkp"],
)
def test_models_without_a_form_name_the_part(name: str) -> None:
    chosen = MODELS[name]
    with pytest.raises(PerceptionError, match=r"head|backbone|roi|part") as error:
        graphs_of(chosen.make(chosen.defaults))  # type: ignore[arg-type]
    assert "export" in str(error.value)


@pytest.mark.parametrize("name", ["pointpillars", "second", "dsvt-pillar"])
@pytest.mark.slow
def test_full_size(name: str, tmp_path: Path) -> None:
    """As published, on the bundled street, from all sides, thin, of one point and of none."""
    from perception.io.weights import Card, WeightsHeader

    model = MODELS[name].make(MODELS[name].defaults).eval()
    header = WeightsHeader(name, {}, model.classes, Card())
    export_model(model, header, tmp_path / "out", Order())  # type: ignore[arg-type]
    assert read_manifest(tmp_path / "out").check is not None
