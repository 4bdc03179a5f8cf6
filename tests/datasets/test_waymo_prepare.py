import importlib.util
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402
from waymo_writer import SEGMENT, Laser, default_lasers, even_beams, frames_of, write_segment  # noqa: E402

from perception.datasets.waymo.dataset import WaymoSegment  # noqa: E402


@pytest.fixture(scope="module")
def prepare():
    path = Path(__file__).resolve().parents[2] / "tools/prepare_waymo.py"
    specification = importlib.util.spec_from_file_location("prepare_waymo", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.main


def test_tables_by_frame(prepare, tmp_path):
    """The preparation tool keeps every value, makes a row group of each frame, and does nothing the second time."""
    folder = tmp_path / "shuffled"
    write_segment(folder, default_lasers(), frames_of(default_lasers()), seed=1)
    before = [WaymoSegment(folder, SEGMENT)[i].cloud for i in range(3)]
    assert prepare([str(folder)]) == 0
    path = folder / "lidar" / f"{SEGMENT}.parquet"
    groups = parquet.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [5, 5, 5]
    for index, cloud in enumerate(before):
        assert np.array_equal(WaymoSegment(folder, SEGMENT)[index].cloud.xyz, cloud.xyz)
    content = path.read_bytes()
    assert prepare([str(folder)]) == 0
    assert path.read_bytes() == content
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]
    assert prepare([str(tmp_path / "nowhere")]) == 2
    path.write_bytes(content[: len(content) // 2])
    assert prepare([str(folder)]) == 2


def test_memory_does_not_grow_with_the_table(tmp_path):
    """Of a table of one row group only a few rows are decoded at once."""
    laser = Laser(1, np.eye(4), even_beams(-0.2, 0.2, 64), 1000, rolling=True)
    most = []
    for count in (15, 45):
        write_segment(tmp_path / str(count), [laser], frames_of([laser], count, share=0.9))
        segment = WaymoSegment(tmp_path / str(count), SEGMENT, lasers=(1,))
        before = pa.total_allocated_bytes()
        held = []
        for index in range(len(segment)):
            assert len(segment.cloud(index)) > 100_000
            held.append(pa.total_allocated_bytes() - before)
        most.append(max(held))
        segment.close()
    assert most[1] < 1.1 * most[0]
