"""Maps of places: search, growth, files, and files that are no maps."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from perception.errors import PerceptionError
from perception.models.catalogue import MODELS
from perception.places import index as index_module
from perception.places.describe import (
    DescriberFacts,
    NetworkDescriber,
    ScanContextDescriber,
    fingerprint,
    make_describer,
    per_cloud,
    random_describer,
)
from perception.places.index import VectorIndex, check_graph
from perception.places.map_file import load_map, save_map
from perception.places.place_map import PlaceMap
from perception.points import PointCloud

pytest.importorskip("usearch")
FACTS = DescriberFacts("model", "some", "abc", {})


def unit(count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def poses(count: int) -> np.ndarray:
    found = np.tile(np.eye(4), (count, 1, 1))
    found[:, 0, 3] = np.arange(count)
    return found


def make_map(count: int = 30, seed: int = 0) -> PlaceMap:
    return PlaceMap.of(FACTS, unit(count, seed=seed), poses(count), [f"{i}.bin" for i in range(count)], "one")


def scan(seed: int = 0, points: int = 600) -> PointCloud:
    rng = np.random.default_rng(seed)
    return PointCloud(rng.uniform([-30, -30, -1.5], [30, 30, 5], (points, 3)))


def test_exact_search_is_exact() -> None:
    vectors, queries = unit(500), unit(20, seed=1)
    rows, distances = VectorIndex(vectors).search(queries, 7)
    wanted = np.linalg.norm(queries[:, None] - vectors[None], axis=2)
    np.testing.assert_array_equal(rows, wanted.argsort(1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(wanted, 1)[:, :7], atol=1e-6)
    assert VectorIndex(vectors).search(vectors[3:4], 1)[1][0, 0] == 0.0


def test_more_places_than_there_are() -> None:
    assert VectorIndex(unit(3)).search(unit(1), 10)[0].shape == (1, 3)


def test_the_graph_finds_what_exact_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = unit(2000), unit(50, seed=2)
    wanted, _ = VectorIndex(vectors).search(queries, 1)
    monkeypatch.setattr(index_module, "EXACT", 10)
    rows, distances = VectorIndex(vectors).search(queries, 5)
    assert (rows[:, 0] == wanted[:, 0]).mean() > 0.9
    np.testing.assert_allclose(distances[:, 0], np.linalg.norm(queries - vectors[rows[:, 0]], axis=1), atol=1e-5)


def test_a_graph_is_kept_in_the_file_and_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT", 10)
    places = make_map(200)
    places.search(unit(1), 1)
    places = places.added(unit(50, seed=4), poses(50), [f"b{i}.bin" for i in range(50)], "two")
    save_map(tmp_path / "a.places", places)
    found = load_map(tmp_path / "a.places")
    np.testing.assert_array_equal(found.vectors, places.vectors)
    assert found.drive_names == ("one", "two")
    query = unit(50, seed=4)[7:8]
    assert found.search(query, 1)[0][0].row == 207
    assert found.search(query, 1)[0][0].distance == pytest.approx(0, abs=1e-3)


def test_a_map_is_what_was_saved(tmp_path: Path) -> None:
    places = make_map()
    save_map(tmp_path / "a.places", places)
    found = load_map(tmp_path / "a.places")
    assert (found.facts, found.scans, found.drive_names) == (places.facts, places.scans, places.drive_names)
    np.testing.assert_array_equal(found.poses, places.poses)
    assert found.search(places.vectors[4:5], 1)[0][0].row == 4


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match="no map"):
        load_map(tmp_path / "none.places")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_map_that_was_cut_short(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.places"
    save_map(path, make_map())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(PerceptionError, match="cut short or no map"):
        load_map(path)


def forged(path: Path, **changes: object) -> None:
    """The map of a file with other tensors or header entries."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
    tensors = load_file(path)
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            tensors[name] = value
        elif value is None:
            tensors.pop(name)
        else:
            header[name] = str(value)
    save_file(tensors, path, header)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"size": "[29, 16]"},
        {"size": "[30, 17]"},
        {"size": "nonsense"},
        {"method": "magic"},
        {"drives": np.full(30, 7, np.int32)},
        {"drives": np.full(30, -1, np.int32)},
        {"poses": np.full((30, 4, 4), np.nan)},
        {"vectors": np.zeros((30, 16))},
        {"vectors": None},
        {"scans": np.frombuffer(b'["a"]', np.uint8)},
        {"scans": np.frombuffer(b"[1]", np.uint8)},
        {"scans": np.zeros(9, np.uint8)},
        {"graph": np.zeros(900, np.uint8)},
    ],
    ids=str,
)
def test_a_forged_map_is_one_clear_error(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "a.places"
    save_map(path, make_map())
    forged(path, **changes)
    with pytest.raises(PerceptionError, match=r"a\.places"):
        load_map(path)


def test_every_changed_byte_of_a_graph_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes the check can be walked: links lead to nodes, whatever the bytes are."""
    monkeypatch.setattr(index_module, "EXACT", 10)
    stored = VectorIndex(unit(60, 4)).to_bytes()
    assert stored is not None
    check_graph(stored, 60, 4)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(400):
        damaged = stored.copy()
        damaged[rng.integers(8 + 60 * 16, len(stored))] = rng.integers(0, 256)
        try:
            found = VectorIndex.from_bytes(damaged, 60, 4)
            found.search(unit(3, 4), 5)
        except PerceptionError:
            refused += 1
    assert refused > 50


def test_a_link_out_of_the_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT", 10)
    stored = VectorIndex(unit(60, 4)).to_bytes()
    assert stored is not None
    damaged = stored.copy()
    first = 8 + 60 * 16 + 64 + 40 + 120 + 10 + 4  # of the first node the first link
    damaged[first : first + 4] = np.frombuffer(struct.pack("<I", 60), np.uint8)
    with pytest.raises(PerceptionError, match="links that lead nowhere"):
        check_graph(damaged, 60, 4)


def test_a_map_of_another_model_is_refused() -> None:
    places = make_map()
    with pytest.raises(PerceptionError, match="the map was built by some"):
        places.fits(ScanContextDescriber())


def test_scan_context_finds_a_turned_scan_and_its_turn() -> None:
    describer = ScanContextDescriber()
    clouds = [scan(seed) for seed in range(40)]
    places = PlaceMap.of(describer.facts, describer(clouds), poses(40), [str(i) for i in range(40)], "one")
    angle = np.radians(90)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    (found,) = places.search(describer([clouds[13].with_xyz(clouds[13].xyz @ turn.T)]), 3)
    assert found[0].row == 13
    assert found[0].distance < 0.01
    assert found[0].turn == pytest.approx(2 * np.pi - angle, abs=0.11)  # turned back it lies on the place


def test_few_points_and_far_clouds_are_refused() -> None:
    describer = random_describer("minkloc3dv2-small")
    with pytest.raises(PerceptionError, match="cloud 0 of 1 has 10 points"):
        describer([scan(points=10)])
    far = scan()
    with pytest.raises(PerceptionError, match=r"no point within 50 m of its origin, the nearest is at 1,.*"):
        describer([far.with_xyz(far.xyz + np.float32(1e6))])
    with pytest.raises(PerceptionError, match="scan in the frame of its sensor"):
        ScanContextDescriber()([far.with_xyz(far.xyz + np.float32(1e6))])


def test_an_origin_far_away_changes_nothing() -> None:
    describer, near = random_describer("minkloc3dv2-small"), scan()
    far = PointCloud(near.xyz, origin=np.array([5e5, 6e6, 0.0]))
    np.testing.assert_array_equal(describer([near]), describer([far]))


def test_fingerprints_tell_weights_apart() -> None:
    one, other = (random_describer("minkloc3dv2-small", seed) for seed in (0, 1))
    assert one.facts.fingerprint != other.facts.fingerprint
    assert one.facts.fingerprint == random_describer("minkloc3dv2-small", 0).facts.fingerprint


def test_descriptors_do_not_depend_on_the_clouds_beside() -> None:
    from dataclasses import replace

    entry = MODELS["hotformerloc-cs-wild-places"]
    small = replace(entry.defaults, depth=6, window=8, channels=(16, 32), heads=(2, 4), blocks=(2, 2), pooled=(8, 4, 4))
    model = entry.make(replace(small, descriptor=32)).eval()
    describer = NetworkDescriber(model, "tiny")  # type: ignore[arg-type]
    assert describer.model.config.windows == "cloud"
    clouds = [scan(seed) for seed in range(3)]
    together = describer(clouds)
    alone = np.concatenate([describer([cloud]) for cloud in clouds])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    assert fingerprint(per_cloud(model)) == describer.facts.fingerprint  # type: ignore[arg-type]


def test_models_of_other_tasks_are_refused() -> None:
    with pytest.raises(PerceptionError, match="second is a model for detection"):
        make_describer("second")


def test_the_header_holds_plain_values(tmp_path: Path) -> None:
    describer = ScanContextDescriber()
    places = PlaceMap.of(describer.facts, describer([scan()]), poses(1), ["a"], "one")
    save_map(tmp_path / "a.places", places)
    assert json.loads(json.dumps(dict(load_map(tmp_path / "a.places").facts.settings))) == dict(
        describer.facts.settings
    )
