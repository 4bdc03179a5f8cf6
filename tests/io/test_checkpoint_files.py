"""Files that are no checkpoint, or a damaged or a dangerous one, are said to be so; what is harmless is opened."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from perception.errors import PerceptionError
from perception.io.importers.checkpoint import open_checkpoint

STATE = OrderedDict(weight=torch.arange(4000.0))


class _Evil:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.marker, "w")


def test_numbers_of_numpy_beside_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    meta = {"iter": np.int64(7), "loss": np.float32(0.5), "classes": np.array(["a"]), "seed": np.float64(1)}
    torch.save({"meta": meta, "state_dict": STATE, "optimizer": {}}, path)
    found = open_checkpoint(path)
    assert torch.equal(found.tensors["weight"], STATE["weight"])
    assert found.extra["meta"]["iter"] == 7
    assert set(found.extra) == {"meta", "optimizer"}


def test_the_old_format_of_torch_and_weights_saved_from_many_gpus(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save({"module.a": torch.ones(2), "module.b": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert set(open_checkpoint(path).tensors) == {"a", "b"}


@pytest.mark.parametrize("new", [True, False])
def test_code_is_named_and_never_run(tmp_path: Path, new: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "c.pth"
    torch.save({"state_dict": STATE, "x": _Evil(str(marker))}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(PerceptionError, match=r"asks to run or build (builtins|io|_io)\.open") as caught:
        open_checkpoint(path)
    assert "never run" in str(caught.value)
    assert not marker.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(PerceptionError, match=r"torch\.nn\.modules\.linear\.Linear.*\n.*\n.*state_dict"):
        open_checkpoint(path)


def test_a_state_of_the_optimiser_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save({"optimizer_state": {"state": {0: {"m": torch.ones(2)}}}, "epoch": 3}, path)
    with pytest.raises(PerceptionError, match=r"holds optimizer_state, epoch, but no tensors.*\n.*\n.*optimiser"):
        open_checkpoint(path)


def _whole(path: Path) -> bytes:
    torch.save({"state_dict": STATE}, path)
    return path.read_bytes()


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("second_7862.pth", b"x")


def _tar(path: Path) -> None:
    (path.parent / "member").write_bytes(b"x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "member", "member")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "an empty file"),
    "cut": (lambda p: p.write_bytes(_whole(p)[:5000]), "cut short after 5,000 bytes"),
    "zip": (_zip, r"a zip archive of second_7862\.pth"),
    "tar": (_tar, "a tar archive"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08abc"), "a gzip archive"),
    "page": (lambda p: p.write_bytes(b"<!DOCTYPE html><html>Quota exceeded"), "a web page"),
    "pointer": (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
    "script": (lambda p: torch.jit.save(torch.jit.script(nn.ReLU()), str(p)), "a TorchScript program"),
    "list": (lambda p: torch.save([torch.ones(1)], p), "holds a list"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"weight": [1.0]}, 2)), "cannot be opened as a checkpoint"),
    "noise": (lambda p: p.write_bytes(bytes(range(256)) * 20), "cannot be opened as a checkpoint"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "none": (lambda p: None, "no file"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", CASES)
def test_other_files(tmp_path: Path, kind: str) -> None:
    make, message = CASES[kind]
    path = tmp_path / "c.pth"
    make(path)
    with pytest.raises(PerceptionError, match=message):
        open_checkpoint(path)


def test_bytes_gone_wrong_inside_are_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    whole = bytearray(_whole(path))
    for place in range(0, len(whole), 97):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            open_checkpoint(path)
        except PerceptionError:
            continue
