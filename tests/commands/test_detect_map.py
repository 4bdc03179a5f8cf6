"""Detection in georeferenced clouds wider than a scan: tiles, ground, the file's coordinates, labels, going on."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception import detect_map
from perception.cli import main
from perception.io.clouds import read_points
from perception.io.las import read_las
from perception.io.writers import write_points
from perception.points import PointCloud

ORIGIN = np.array([412_000.0, 5_318_000.0, 500.0])
SLOPE = 0.05


def town(path: Path, spacing: float = 90.0) -> Path:
    """The bundled street four times, on a slope in UTM coordinates: far wider than the model sees."""
    scan = read_points(Path(str(files("perception"))) / "samples/street_000.bin").xyz.astype(np.float64)
    parts = [scan + np.array([x * spacing, y * spacing, 0]) for x in range(2) for y in range(2)]
    xyz = np.concatenate(parts)
    xyz[:, 2] += SLOPE * xyz[:, 0]
    cloud = PointCloud(xyz.astype(np.float32), origin=ORIGIN, frame="map", metadata={"crs": "EPSG:25832"})
    write_points(path, cloud)
    return path


def detect(*arguments: object) -> int:
    return main(["detect", *map(str, arguments)])


def found(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(path.read_text())["detections"]
    return entries


def test_boxes_of_a_map_are_those_of_its_scans_in_the_coordinates_of_the_file(tmp_path: Path) -> None:
    source, out = town(tmp_path / "town.laz"), tmp_path / "out"
    assert detect(source, "--out", out, "--labels", "--picture", "--score", 0.3) == 0
    assert sorted(p.name for p in out.iterdir()) == ["town.json", "town.laz", "town.png"]
    content = json.loads((out / "town.json").read_text())
    assert content["crs"] == "EPSG:25832"
    cars = np.array([e["centre"] for e in found(out / "town.json") if e["class"] == "Car"]) - ORIGIN
    alone = tmp_path / "alone"
    assert detect(Path(str(files("perception"))) / "samples/street_000.bin", "--out", alone, "--score", 0.4) == 0
    expected = np.array([e["centre"] for e in found(alone / "street_000.json") if e["class"] == "Car"])
    assert len(expected) > 2
    for shift in ([0, 0, 0], [90, 0, 0], [0, 90, 0], [90, 90, 0]):
        wanted = expected + shift
        wanted[:, 2] += SLOPE * wanted[:, 0]
        distance = np.linalg.norm(wanted[:, None] - cars[None], axis=2).min(1)
        assert (distance < 1.0).mean() >= 0.75, shift
    labelled = read_las(out / "town.laz")
    numbers = labelled.fields["detection"]
    assert numbers.max() <= len(found(out / "town.json"))
    kinds = labelled.fields["detection_class"]
    assert ((numbers > 0) == (kinds > 0)).all()
    for row, entry in enumerate(found(out / "town.json")[:5], start=1):
        held = labelled.world()[numbers == row]
        assert len(held)
        assert np.abs(held.mean(0) - entry["centre"]).max() < 3
    np.testing.assert_array_equal(labelled.world(), read_las(source).world())


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = town(tmp_path / "town.las"), tmp_path / "out"
    assert detect(source, "--out", tmp_path / "whole") == 0
    seen: list[str] = []
    original = detect_map.detect_tile

    def interrupted(model: Any, part: Any, thinning: float) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(part.tile.name)
        return original(model, part, thinning)

    monkeypatch.setattr(detect_map, "detect_tile", interrupted)
    assert detect(source, "--out", out) == 130
    assert not (out / "town.json").exists()
    first = list(seen)
    seen.clear()
    seen.extend(["", "", ""])
    assert detect(source, "--out", out) == 0
    assert not set(first) & set(seen), "tiles that were done are not done again"
    assert (out / "town.json").read_text() == (tmp_path / "whole" / "town.json").read_text()
    assert [p.name for p in out.iterdir()] == ["town.json"]


def test_an_empty_map_and_scans_beside_maps(weights: Path, scan: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.las"
    write_points(empty, PointCloud(np.zeros((0, 3), np.float32)))
    out = tmp_path / "out"
    source = town(tmp_path / "town.laz")
    broken = tmp_path / "broken.laz"
    broken.write_bytes(source.read_bytes()[:5000])
    assert detect(empty, source, scan, broken, "--model", weights, "--out", out, "--batch", 2) == 1
    assert sorted(p.name for p in out.iterdir()) == ["empty.json", "scan.json", "town.json"]


def test_batches_answer_as_single_clouds_do(weights: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for number in range(5):
        points = generator.uniform([0, -8, -2, 0], [16, 8, 0, 1], (300 + 50 * number, 4)).astype("<f4")
        points.tofile(tmp_path / f"{number}.bin")
    (tmp_path / "3.bin").write_bytes(b"abc")
    assert detect(*sorted(tmp_path.glob("?.bin")), "--model", weights, "--out", tmp_path / "one") == 1
    assert detect(*sorted(tmp_path.glob("?.bin")), "--model", weights, "--out", tmp_path / "two", "--batch", 3) == 1
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == ["0.json", "1.json", "2.json", "4.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()
