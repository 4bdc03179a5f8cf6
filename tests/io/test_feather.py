import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.feather import read_feather

pytest.importorskip("pyarrow")


def write(path, **columns):
    import pyarrow
    from pyarrow import feather

    feather.write_feather(pyarrow.table(columns), str(path))


def test_half_coordinates_other_columns_and_the_stamp(tmp_path):
    path = tmp_path / "315966265259836000.feather"
    half = np.array([1.5, np.nan, -3], np.float16)
    write(path, x=half, y=half, z=half, intensity=np.array([1, 2, 3], np.uint8), log=["a", "b", "c"])
    cloud = read_feather(path)
    assert cloud.xyz.tolist() == [[1.5] * 3, [-3] * 3]
    assert (cloud.dropped, cloud.frame, list(cloud.fields)) == (1, "ego", ["intensity"])
    assert cloud.stamp == pytest.approx(315966265.259836)


def test_damage_and_missing_columns_are_errors(tmp_path):
    path = tmp_path / "a.feather"
    write(path, x=np.zeros(100), y=np.zeros(100))
    with pytest.raises(PerceptionError, match="without z"):
        read_feather(path)
    write(path, x=np.zeros(100), y=np.zeros(100), z=np.arange(100.0))
    data = path.read_bytes()
    for keep in (10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(PerceptionError, match="Arrow"):
            read_feather(path)


def test_real_sweeps(shared_data):
    clouds = [read_feather(p) for p in sorted(shared_data.glob("argoverse2/sensor_val/*/sensors/lidar/*.feather"))]
    assert [len(c) for c in clouds] == [99_229, 99_466]
    assert clouds[1].stamp - clouds[0].stamp == pytest.approx(0.100196, abs=1e-6)
    assert set(clouds[0].fields) == {"intensity", "laser_number", "offset_ns"}
    assert clouds[0].fields["laser_number"].max() == 63
