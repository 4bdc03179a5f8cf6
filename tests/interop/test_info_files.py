from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.errors import PerceptionError
from perception.interop.info_files import read_info_file


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_back(tmp_path: Path, protocol: int) -> None:
    content = {
        "arrays": [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3, dtype=np.float32)), np.zeros((0, 7))],
        "names": np.array(["car", "bus"]),
        "objects": np.array([None, "a"], object),
        "scalars": (np.float64(1.5), np.int64(3), np.True_, np.float32(0.5)),
        "sets": {1, 2},
        "frozen": frozenset((3,)),
        "bytes": b"\x00\xff",
        "ordered": OrderedDict(a=1),
        "none": None,
    }
    (tmp_path / "i.pkl").write_bytes(pickle.dumps(content, protocol))
    again = read_info_file(tmp_path / "i.pkl")
    for one, other in zip(content["arrays"], again["arrays"]):  # type: ignore[arg-type]
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert again["names"].tolist() == ["car", "bus"]
    assert again["objects"].tolist() == [None, "a"]
    for key in ("scalars", "sets", "frozen", "bytes", "ordered", "none"):
        assert again[key] == content[key]
    again["arrays"][0][0] = 1  # writable


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Calls(__import__("os").system, "touch harmed"), r"(posix|nt)\.system"),
        (Calls(eval, "open('harmed', 'w')"), r"(builtins|__builtin__)\.eval"),
        (Calls(getattr, "text", "upper"), r"(builtins|__builtin__)\.getattr"),
        (Calls(bytearray, 1 << 40), r"(builtins|__builtin__)\.bytearray"),
        (Calls(np.load, "harmed"), r"numpy\.load"),
        (Calls(__import__("subprocess").Popen, "touch harmed"), r"(subprocess|commands)\.Popen"),
        (defaultdict(list), r"collections\.defaultdict"),
        (Path("harmed"), r"pathlib"),
        (Calls(np.zeros, 1 << 40), r"numpy.*zeros"),
    ],
)
def test_every_other_global_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4):
        Path("i.pkl").write_bytes(pickle.dumps([value], protocol))
        with pytest.raises(PerceptionError, match=rf"i\.pkl: the pickle asks for {named}"):
            read_info_file("i.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["i.pkl"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([np.arange(1000)])[:-400],
        # Calls of allowed names with other arguments than those that pickles of arrays have.
        b"cnumpy\nndarray\n((I1000000000\nI1000000000\ntS'b'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000\nI1000000000\ntS'b'\ntR.",
        b"c__builtin__\nbytes\n(I1000000000000\ntR.",
        b"c_codecs\nencode\n(S'a'\nS'zip'\ntR.",
        b"cnumpy\ndtype\n.cnumpy\ndtype\n)R.",
    ],
)
def test_damaged_and_twisted_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "i.pkl").write_bytes(content)
    if content.endswith(b")R."):
        assert read_info_file(tmp_path / "i.pkl") is np.dtype  # only the first value of a file is read
        return
    with pytest.raises(PerceptionError, match=r"i\.pkl"):
        read_info_file(tmp_path / "i.pkl")


def test_arrays_that_claim_more_than_is_there(tmp_path: Path) -> None:
    whole = pickle.dumps(np.zeros(100, np.uint8), 2)
    (tmp_path / "i.pkl").write_bytes(whole.replace(b"Kd\x85", b"J\x00\x00\x00\x7f\x85"))
    with pytest.raises(PerceptionError, match=r"i\.pkl cannot be read"):
        read_info_file(tmp_path / "i.pkl")
