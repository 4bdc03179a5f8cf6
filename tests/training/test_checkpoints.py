from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.config import to_plain
from perception.errors import PerceptionError
from perception.training.checkpoints import KEYS, AtomicCheckpointIO, check_resumable, read_checkpoint
from perception.training.randomness import random_state, restore_random_state
from perception.training.settings import check_experiment

STATE: dict[str, Any] = {key: {"values": torch.arange(3)} for key in KEYS}


def test_a_state_comes_back(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(STATE, tmp_path / "last.ckpt")
    found = AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")
    torch.testing.assert_close(found["loops"]["values"], torch.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_failed_save_leaves_the_earlier_state(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(STATE, path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        AtomicCheckpointIO().save_checkpoint({"loops": lambda: None}, path)
    assert set(read_checkpoint(path)) == set(KEYS)
    assert list(tmp_path.iterdir()) == [path]


def test_missing_damaged_and_foreign_files_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises(PerceptionError, match="no checkpoint"):
        read_checkpoint(path)
    AtomicCheckpointIO().save_checkpoint(STATE, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\x80\x02garbage", b"not a checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(PerceptionError, match="cannot be read as a checkpoint"):
            read_checkpoint(path)
    torch.save({"model_state": {}}, path)
    with pytest.raises(PerceptionError, match="holds no state_dict"):
        read_checkpoint(path)


class _Runs:
    """A pickle that would run code when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    torch.save({**STATE, "evil": _Runs(trace)}, path)
    with pytest.raises(PerceptionError, match="cannot be read"):
        read_checkpoint(path)
    assert not trace.exists()


def test_resuming_under_other_settings_names_them(tiny: dict[str, Any]) -> None:
    before = check_experiment(tiny, "test")
    checkpoint = {"perception": {"experiment": to_plain(before)}}
    tiny["training"]["workers"] = 3
    check_resumable(checkpoint, check_experiment(tiny, "test"), "last.ckpt")
    tiny["training"]["learning_rate"] = 0.01
    with pytest.raises(PerceptionError, match=r"training.learning_rate: 0.003 then, 0.01 now"):
        check_resumable(checkpoint, check_experiment(tiny, "test"), "last.ckpt")


def test_the_random_state_survives_the_file(tmp_path: Path) -> None:
    torch.save(random_state(), tmp_path / "state")
    first = torch.rand(4)
    restore_random_state(torch.load(tmp_path / "state", weights_only=True))
    torch.testing.assert_close(torch.rand(4), first, rtol=0, atol=0)
