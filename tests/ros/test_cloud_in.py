"""PointCloud2 in the layouts of real drivers, and messages that contradict themselves."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from perception_ros.conversion.cloud_in import CloudOptions, cloud_of
from ros_clouds import LAYOUTS, STAMP, columns, field, message

from perception.errors import PerceptionError

DRIVERS = ("velodyne", "velodyne_pcl", "ouster", "hesai", "livox", "robosense")


def expected_xyz(values: dict[str, Any], layout: str) -> np.ndarray:
    kinds = LAYOUTS[layout][0]
    return np.stack([values[axis].astype(kinds[axis][0]).astype(np.float64) for axis in "xyz"], 1)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("height", "row_padding"), [(1, 0), (8, 0), (8, 13)])
def test_every_layout(layout: str, height: int, row_padding: int, big_endian: bool) -> None:
    values = columns(400)
    cloud = cloud_of(message(values, layout, height, big_endian, row_padding))
    assert np.array_equal(cloud.world(), expected_xyz(values, layout))
    assert cloud.xyz.dtype == np.float32
    assert cloud.frame == "lidar"
    assert cloud.stamp == pytest.approx(STAMP / 1e9, abs=1e-6)
    if "intensity" in LAYOUTS[layout][0]:
        assert np.array_equal(cloud.fields["intensity"], values["intensity"].astype(np.float32))
        assert cloud.fields["intensity"].dtype == np.float32
    else:
        assert "intensity" not in cloud.fields
    ring = "line" if layout == "livox" else "ring"
    if ring in LAYOUTS[layout][0]:
        assert np.array_equal(cloud.fields["ring"], values[ring])


@pytest.mark.parametrize("layout", ["velodyne", "ouster", "hesai", "livox", "robosense"])
def test_times_are_seconds_from_the_stamp(layout: str) -> None:
    values = columns(300)
    if layout == "livox":
        values["timestamp"] = values["timestamp"] * 1e9  # its driver counts nanoseconds
    cloud = cloud_of(message(values, layout))
    assert np.allclose(cloud.fields["point_time"], columns(300)["time"], atol=1e-6)
    assert not {"t", "time", "timestamp"} & set(cloud.fields)  # a detector would take them for the age of a sweep


def test_times_in_microseconds_and_before_the_stamp() -> None:
    values = columns(10)
    values["timestamp"] = values["timestamp"] * 1e6
    assert np.allclose(cloud_of(message(values, "hesai")).fields["point_time"], columns(10)["time"], atol=1e-5)
    values["time"] = -columns(10)["time"]
    assert np.allclose(cloud_of(message(values, "velodyne")).fields["point_time"], values["time"], atol=1e-7)


@pytest.mark.parametrize("kind", ["bytes", "array", "numpy", "memoryview", "list"])
def test_any_container_of_bytes(kind: str) -> None:
    values = columns(50)
    made = message(values, "ouster")
    raw = made.data
    makers = {
        "bytes": lambda: raw,
        "array": lambda: array.array("B", raw),
        "numpy": lambda: np.frombuffer(raw, np.uint8),
        "memoryview": lambda: memoryview(raw),
        "list": lambda: list(raw),
    }
    made.data = makers[kind]()
    assert np.array_equal(cloud_of(made).xyz, expected_xyz(values, "ouster"))


def test_the_cloud_does_not_live_in_the_message() -> None:
    values = columns(50)
    for layout in ("velodyne", "geometry"):
        made = message(values, layout)
        buffer = np.frombuffer(made.data, np.uint8).copy()
        made.data = buffer
        cloud = cloud_of(made)
        buffer[:] = 0
        assert np.array_equal(cloud.xyz, expected_xyz(values, layout))


def test_points_without_numbers_and_without_return_are_dropped() -> None:
    values = columns(100)
    values["x"][3], values["y"][7], values["z"][9] = np.nan, np.inf, -np.inf
    for axis in "xyz":
        values[axis][20:25] = 0.0
    values["x"][30] = 0.0  # a point in the middle plane is a point
    made = message(values, "velodyne", height=4)
    cloud = cloud_of(made)
    assert (len(cloud), cloud.dropped) == (92, 8)
    kept = np.ones(100, bool)
    kept[[3, 7, 9, *range(20, 25)]] = False
    assert np.array_equal(cloud.fields["ring"], values["ring"][kept])
    assert np.array_equal(cloud.xyz, expected_xyz(values, "velodyne")[kept])
    assert len(cloud_of(made, CloudOptions(drop_no_returns=False))) == 97


def test_doubles_beyond_single_precision() -> None:
    values = columns(10)
    values["x"] = values["x"] + 500_000.125
    values["y"] = values["y"] + 5_400_000.25
    cloud = cloud_of(message(values, "doubles"))
    assert np.array_equal(cloud.world(), expected_xyz(values, "doubles"))
    values["x"][2] = 1e300
    assert cloud_of(message(values, "doubles")).dropped == 1


@pytest.mark.parametrize(("height", "width"), [(0, 0), (1, 0), (0, 1024), (64, 0)])
def test_no_points(height: int, width: int) -> None:
    made = message(columns(4), "ouster")
    made.height, made.width, made.row_step, made.data = height, width, 0, b""
    cloud = cloud_of(made, wanted=("intensity", "time"))
    assert len(cloud) == 0
    assert set(cloud.fields) == {"intensity", "time"}
    made.fields = []
    assert len(cloud_of(made)) == 0


def test_only_points_without_numbers() -> None:
    values = columns(5)
    values["x"][:] = np.nan
    cloud = cloud_of(message(values, "hesai"))
    assert (len(cloud), cloud.dropped) == (0, 5)


def test_intensities() -> None:
    values = columns(20)
    scaled = cloud_of(message(values, "robosense"), CloudOptions(intensity_scale=1 / 255))
    assert np.allclose(scaled.fields["intensity"], values["intensity"] / 255)
    chosen = cloud_of(message(values, "ouster"), CloudOptions(intensity_field="reflectivity"))
    assert np.array_equal(chosen.fields["intensity"], values["reflectivity"])
    filled = cloud_of(message(values, "geometry"), CloudOptions(intensity_when_absent=0.5))
    assert (filled.fields["intensity"] == 0.5).all()
    missing = cloud_of(message(values, "geometry"), CloudOptions(intensity_field="reflectivity"))
    assert "intensity" not in missing.fields
    made = message(values, "ouster")
    made.fields = [f for f in made.fields if f.name != "intensity"]
    assert np.array_equal(cloud_of(made).fields["intensity"], values["reflectivity"])


def test_fields_of_several_values_and_padding() -> None:
    values = columns(6)
    made = message(values, "velodyne_pcl")
    made.fields += [field("_", 24, 99), field("", 25, 0), field("normal", 20, 2, 3)]
    cloud = cloud_of(made, wanted=("normal",))
    assert cloud.fields["normal"].shape == (6, 3)
    made.fields[0].count = 0  # as old PCL writes it
    assert np.array_equal(cloud_of(made).xyz, expected_xyz(values, "velodyne_pcl"))


def _broken() -> dict[str, Any]:
    def change(**attributes: Any) -> Any:
        return lambda made: [setattr(made, name, value) for name, value in attributes.items()]

    def fields(edit: Any) -> Any:
        return lambda made: setattr(made, "fields", edit(made.fields))

    return {
        "data cut short": lambda made: setattr(made, "data", made.data[:-1]),
        "no data": change(data=b""),
        "height x width overflow": change(height=2**32 - 1, width=2**32 - 1, row_step=0),
        "rows that overlap": change(row_step=22 * 49),
        "more rows than bytes": change(height=3),
        "unknown datatype": fields(lambda f: [*f[:3], field("intensity", 12, 9), *f[4:]]),
        "datatype zero": fields(lambda f: [field("x", 0, 0), *f[1:]]),
        "field missing": fields(lambda f: f[1:]),
        "no fields": fields(lambda f: []),
        "field beyond the point": fields(lambda f: [field("x", 20, 7), *f[1:]]),
        "count beyond the point": fields(lambda f: [*f[:-1], field("time", 18, 7, 2**31)]),
        "coordinates of three values": fields(lambda f: [field("x", 0, 7, 3), *f[1:]]),
        "points of no bytes": change(point_step=0, row_step=0),
        "negative width": change(width=-4),
    }


@pytest.mark.parametrize("fault", _broken())
def test_messages_that_contradict_themselves(fault: str) -> None:
    made = message(columns(100), "velodyne", height=2)
    _broken()[fault](made)
    with pytest.raises(PerceptionError) as told:
        cloud_of(made)
    assert told.value.expected


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16),
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y", "z", "intensity", "t", "_"]), st.integers(0, 2**32 - 1), st.integers(0, 12)
        ),
        max_size=6,
    ),
    st.binary(max_size=200),
    st.booleans(),
)
@example(2**31, 2**31, 0, 0, [], b"", False)
@settings(max_examples=300, deadline=None)
def test_whatever_a_message_says(
    height: int, width: int, step: int, row: int, described: list[tuple[str, int, int]], data: bytes, big: bool
) -> None:
    """Either a cloud or the one exception, and never an allocation that the data does not bear out."""
    made = message(columns(1), "geometry")
    made.height, made.width, made.point_step, made.row_step, made.data, made.is_bigendian = (
        height,
        width,
        step,
        row,
        data,
        big,
    )
    made.fields = [field(*one) for one in described]
    try:
        cloud = cloud_of(made)
    except PerceptionError:
        return
    assert len(cloud) + cloud.dropped == height * width
