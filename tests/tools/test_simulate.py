"""Folders of generated worlds: readable by our readers, the same for a command, resumed, and refused when mixed."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from perception.datasets.kitti.dataset import KittiDetection
from perception.errors import PerceptionError
from perception.io.clouds import read_points
from perception.simulate import export
from perception.simulate.export import Order, simulate
from perception.simulate.people.ranges import TEST
from perception.simulate.people.scene import people_scene
from perception.simulate.street.scene import street

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulate_tool", ROOT / "tools" / "simulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_streets_are_a_kitti_folder_with_the_same_boxes(tmp_path: Path, tool: ModuleType) -> None:
    assert tool.main(["streets", "--seed", "7", "--count", "2", "--sensor", "hdl32", "--out", str(tmp_path / "s")]) == 0
    kitti = KittiDetection(tmp_path / "s", "train", camera_view=False)
    assert len(kitti) == 2
    for i in range(2):
        made = street(7 + i, Order.of("streets", 0, 1, None, "hdl32").lidar())
        read = kitti[i]
        assert np.array_equal(read.cloud.xyz, made.cloud.xyz)
        assert read.objects is not None
        assert made.objects is not None
        boxes, wanted = read.objects.boxes.values.numpy(), made.objects.boxes.values.numpy()
        for name, box in zip(read.objects.names, boxes):
            match = np.abs(wanted[:, :6] - box[:6]).max(1).argmin()
            assert np.abs(wanted[match, :6] - box[:6]).max() < 1e-3
            assert abs(np.exp(1j * wanted[match, 6]) - np.exp(1j * box[6])) < 1e-3
            assert made.objects.names[match] == name
        assert (boxes[:, 0] > 0).all(), "only what the camera sees has a label"


def test_forests_are_las_files_with_a_table_of_trees(tmp_path: Path, tool: ModuleType) -> None:
    command = ["forests", "--side", "8", "--density", "30", "--count", "2", "--format", "las", "--out"]
    assert tool.main([*command, str(tmp_path / "a")]) == 0
    assert tool.main([*command, str(tmp_path / "b")]) == 0
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(first[name] == second[name] for name in first if not name.endswith(".las"))
    cloud = read_points(tmp_path / "a" / "000001.las")
    facts = json.loads((tmp_path / "a" / "000001.json").read_text())
    ids = {row["tree_id"]: row for row in facts["trees"]}
    for number in np.unique(cloud.fields["tree_id"][cloud.fields["tree_id"] > 0]):
        assert ids[int(number)]["points"] == (cloud.fields["tree_id"] == number).sum()
    assert np.array_equal(cloud.world(), read_points(tmp_path / "b" / "000001.las").world())


def test_people_are_arrays_and_joints(tmp_path: Path, tool: ModuleType) -> None:
    assert (
        tool.main(["people", "--split", "test", "--sensor", "hdl32", "--count", "1", "--out", str(tmp_path / "p")]) == 0
    )
    cloud, made = read_points(tmp_path / "p" / "000000.npz"), people_scene(0, "hdl32", TEST)
    assert np.array_equal(cloud.xyz, made.cloud.xyz)
    facts = json.loads((tmp_path / "p" / "000000.json").read_text())
    joints = np.array([person["keypoints"] for person in facts["people"]])
    assert made.objects is not None
    assert np.abs(joints - made.objects.attributes["keypoints"]).max() < 1e-4
    seen = np.array([person["keypoints_visible"] for person in facts["people"]])
    assert np.array_equal(seen, made.objects.attributes["keypoints_visible"])


def test_an_interrupted_run_goes_on_and_makes_what_an_unbroken_one_makes(tmp_path: Path) -> None:
    order = Order.of("people", 4, 3, None, "hdl32")
    assert simulate(order, tmp_path / "whole") == 3

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(order, tmp_path / "broken", stop)
    stamp = (tmp_path / "broken" / "000000.npz").stat().st_mtime_ns
    (tmp_path / "broken" / "000001.json").write_text("{}")  # its points are missing: made again
    assert simulate(order, tmp_path / "broken") == 2
    assert (tmp_path / "broken" / "000000.npz").stat().st_mtime_ns == stamp
    assert simulate(order, tmp_path / "broken") == 0
    for name in ("000000", "000001", "000002"):
        a, b = (read_points(tmp_path / where / f"{name}.npz") for where in ("whole", "broken"))
        assert np.array_equal(a.xyz, b.xyz)
        assert (tmp_path / "whole" / f"{name}.json").read_bytes() == (tmp_path / "broken" / f"{name}.json").read_bytes()


def test_a_folder_of_other_settings_or_of_something_else_is_refused(tmp_path: Path) -> None:
    simulate(Order.of("people", 4, 1, None, "hdl32"), tmp_path / "p")
    before = contents(tmp_path / "p")
    for other in (Order.of("people", 5, 1, None, "hdl32"), Order.of("people", 4, 1, None, "hdl64")):
        with pytest.raises(PerceptionError, match="other settings"):
            simulate(other, tmp_path / "p")
    assert contents(tmp_path / "p") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(PerceptionError, match="not an empty folder"):
        simulate(Order.of("people", 4, 1, None, "hdl32"), tmp_path / "mine")
    (tmp_path / "p" / export.SETTINGS).write_text("{")
    with pytest.raises(PerceptionError, match="other settings"):
        simulate(Order.of("people", 4, 1, None, "hdl32"), tmp_path / "p")


def test_folders_that_a_failed_start_left_are_taken(tmp_path: Path) -> None:
    (tmp_path / "s" / "training" / "velodyne").mkdir(parents=True)
    assert simulate(Order.of("streets", 0, 1, None, "hdl32", beams=4), tmp_path / "s") == 1


def test_a_full_disk_leaves_no_half_file_and_says_so(
    tmp_path: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["people", "--sensor", "hdl32", "--count", "2", "--out", str(tmp_path / "p")]
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("perception.io.files.os.fsync", full)
        assert tool.main(command) == 2
    assert "free space" in capsys.readouterr().out
    assert not [name for name in contents(tmp_path / "p") if name.endswith(".part")]
    assert tool.main(command) == 0
    assert {"000000.npz", "000001.npz"} <= set(contents(tmp_path / "p"))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["street"], "streets"),
        (["streets", "--sensor", "hdl46"], "hdl64"),
        (["streets", "--sensor", ""], "no lidar"),
        (["streets", "--beams", "0"], "0 beams"),
        (["forests", "--sensor", "hdl64"], "no scanner"),
        (["forests", "--side", "0"], "side"),
        (["forests", "--density", "0"], "more than 0"),
        (["forests", "--format", "kitti"], "laz"),
        (["forests", "--stand", "palm"], "spruce"),
        (["forests", "--stems", "0"], "stems"),
        (["people", "--split", "val"], "train or test"),
        (["people", "--count", "0"], "at least one"),
        (["people", "--seed", "-1"], "seed"),
    ],
)
def test_bad_commands_say_what_is_wrong(
    command: list[str], told: str, tmp_path: Path, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main([*command, "--out", str(tmp_path / "x")]) == 2
    assert told in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "x").exists(), "a corrected command can have the folder"


def test_fewer_beams_give_fewer_points() -> None:
    few = Order.of("people", 0, 1, None, "hdl64", beams=8).lidar()
    assert len(few.elevations) == 8
    assert len(people_scene(0, few).cloud) < 0.2 * len(people_scene(0, "hdl64").cloud)
    assert len(Order.of("people", 0, 1, None, "hdl64", beams=1).lidar().elevations) == 1
