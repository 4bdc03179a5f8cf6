"""What the Waymo reader says of missing, damaged and foreign files."""

import math
import sys

import pytest

pa = pytest.importorskip("pyarrow")

from waymo_writer import SEGMENT, change, default_lasers, frames_of, write_segment  # noqa: E402

from perception.datasets.waymo.dataset import WaymoSegment  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "training"
    write_segment(folder, default_lasers(), frames_of(default_lasers()))
    return folder


@pytest.mark.parametrize("component", ["lidar", "lidar_calibration", "lidar_pose", "vehicle_pose", "lidar_box"])
def test_a_missing_component_is_named(split, component):
    (split / component / f"{SEGMENT}.parquet").unlink()
    with pytest.raises(PerceptionError, match=component):
        WaymoSegment(split, SEGMENT, labelled=True)[0]


def test_without_labels(split):
    (split / "lidar_box" / f"{SEGMENT}.parquet").unlink()
    (split / "stats" / f"{SEGMENT}.parquet").unlink()
    assert WaymoSegment(split, SEGMENT)[0].objects is None


@pytest.mark.parametrize("component", ["lidar", "lidar_calibration", "lidar_pose", "vehicle_pose", "lidar_box"])
def test_damaged_and_foreign_files(split, component):
    path = split / component / f"{SEGMENT}.parquet"
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole[:10],
        b"",
        b"PAR1" + bytes(100) + b"PAR1",
        whole[:-200] + whole[-100:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(PerceptionError, match=component):
            WaymoSegment(split, SEGMENT)[0]
    path.write_bytes((split / "stats" / f"{SEGMENT}.parquet").read_bytes())
    with pytest.raises(PerceptionError, match=r"without (key|\[)"):
        WaymoSegment(split, SEGMENT)[0]


def replaced(name, values):
    def edit(table):
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values, table.schema.types[place]))

    return edit


BEAMS = "[LiDARCalibrationComponent].beam_inclination"


@pytest.mark.parametrize(
    ("component", "edit", "match"),
    [
        ("lidar_calibration", replaced(f"{BEAMS}.min", [None] * 5), "no beam inclinations"),
        ("lidar_calibration", replaced(f"{BEAMS}.values", [[0.1, 0.2]] * 5), "2 beam inclinations for"),
        ("lidar_calibration", replaced(f"{BEAMS}.values", [[math.nan] * 40] * 5), "not finite"),
        ("lidar_calibration", lambda t: t.slice(0, 2), "no row in lidar_calibration"),
        ("lidar_calibration", replaced("[LiDARCalibrationComponent].extrinsic.transform", [[2.0] * 16] * 5), "rigid"),
        ("lidar", lambda t: t.slice(0, 4), "without 5"),
        ("lidar", replaced("[LiDARComponent].range_image_return1.shape", [[3, 3, 4]] * 15), "shape"),
        ("lidar", replaced("[LiDARComponent].range_image_return2.values", [None] * 15), "no values"),
        ("lidar_pose", lambda t: t.slice(1, 2), "no poses of the top lidar"),
        ("vehicle_pose", lambda t: t.slice(1, 2), "has no frame"),
        ("lidar_box", replaced("[LiDARBoxComponent].type", [9] * 6), "type 9"),
        ("lidar_box", replaced("[LiDARBoxComponent].box.size.x", [0.0] * 6), "sizes above 0"),
        ("lidar_box", replaced("[LiDARBoxComponent].box.heading", [None] * 6), "heading"),
        ("lidar_box", replaced("key.frame_timestamp_micros", [None] * 6), "missing"),
    ],
)
def test_wrong_values_are_named(split, component, edit, match):
    change(split, component, edit)
    with pytest.raises(PerceptionError, match=match):
        WaymoSegment(split, SEGMENT)[0]


def test_the_extra_is_named(split, monkeypatch):
    segment = WaymoSegment(split, SEGMENT)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.delattr(pa, "parquet", raising=False)
    with pytest.raises(PerceptionError, match=r"lidar-perception\[waymo\]"):
        len(segment)
