import io
import zipfile

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.io.arrays import read_npy, read_npz


def rows(count=30, width=5):
    return np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)


def test_columns_of_a_plain_array(tmp_path):
    path, values = tmp_path / "a.npy", rows()
    np.save(path, values)
    cloud = read_npy(path)
    assert list(cloud.fields) == ["intensity", "column_4"]
    named = read_npy(path, columns=("z", "y", "x", "_", "ring"))
    np.testing.assert_array_equal(named.xyz, values[:, [2, 1, 0]])
    assert list(named.fields) == ["ring"]
    with pytest.raises(PerceptionError, match="5 columns"):
        read_npy(path, columns=("x", "y", "z"))


def test_fortran_order_records_range_images_and_integers(tmp_path):
    path, values = tmp_path / "a.npy", rows(width=3)
    np.save(path, np.asfortranarray(values))
    np.testing.assert_array_equal(read_npy(path).xyz, values)
    np.save(path, values.reshape(5, 6, 3))
    np.testing.assert_array_equal(read_npy(path).xyz, values)
    records = np.zeros(4, [("t", "i8"), ("x", ">f4"), ("y", "f4"), ("z", "f4")])
    records["x"] = 3
    np.save(path, records)
    cloud = read_npy(path)
    assert cloud.xyz[:, 0].tolist() == [3] * 4
    assert list(cloud.fields) == ["t"]
    np.save(path, np.array([[500_000_001, 2, 3]]))
    assert read_npy(path).world().tolist() == [[500_000_001, 2, 3]]


@pytest.mark.parametrize(
    "values", [np.zeros((4, 2)), np.zeros(9), np.array("x"), np.zeros((2, 3), complex), np.eye(40)]
)
def test_arrays_that_are_no_clouds(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(PerceptionError):
        read_npy(tmp_path / "a.npy")


def test_pickles_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(PerceptionError, match="pickled"):
        read_npy(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", xyz=np.array([Trap()], dtype=object))
    with pytest.raises(PerceptionError, match="pickled"):
        read_npz(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_shape_beyond_the_file_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, rows(width=3))
    for shape in (b"(31, 3)", b"(9999999999, 3)", b"(-30, 3)"):
        data = path.read_bytes()
        path.with_name("b.npy").write_bytes(data.replace(b"(30, 3), }" + b" " * (len(shape) - 7), shape + b", }", 1))
        with pytest.raises(PerceptionError):
            read_npy(path.with_name("b.npy"))


def test_archives(tmp_path):
    path, values = tmp_path / "a.npz", rows(width=3)
    np.savez_compressed(path, points=values, label=np.arange(30), other=np.zeros(7))
    cloud = read_npz(path)
    assert list(cloud.fields) == ["label"]
    np.savez(path, x=values[:, 0], y=values[:, 1], z=values[:, 2], i=np.arange(30))
    cloud = read_npz(path)
    np.testing.assert_array_equal(cloud.xyz, values)
    assert list(cloud.fields) == ["intensity"]
    for wrong in ({"a": values}, {"x": values[:, 0], "y": values[:5, 0], "z": values[:, 0]}, {}):
        np.savez(path, **wrong)
        with pytest.raises(PerceptionError):
            read_npz(path)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (26_000_000, 3)})
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("xyz.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(312):
            member.write(bytes(1_000_000))
    with pytest.raises(PerceptionError, match="unpacks"):
        read_npz(tmp_path / "a.npz")


def test_real_files(shared_data):
    pair = [len(read_npy(p)) for p in sorted(shared_data.glob("argoverse2/openseneflow_pair/*.npy"))]
    assert pair == [88_132, 88_101]
    image = read_npy(shared_data / "semantickitti/val_0.npy", columns=("x", "y", "z", "intensity", "range", "label"))
    assert len(image) == 64 * 1024
    np.testing.assert_allclose(np.linalg.norm(image.xyz, axis=1), image.fields["range"], atol=1e-4)
