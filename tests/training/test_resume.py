from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from perception.datasets.ground_truth_database import build_database
from perception.simulate.dataset import StreetDataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """Three batches an epoch, accumulated by two: epochs, optimiser steps and saved states do not fall together.

    With objects pasted, augmentation that ends early, averaged weights and two processes that load.
    """
    database = tmp_path / "objects.npz"
    build_database(StreetDataset(4, 7), database, ["Car", "Pedestrian"])
    pasting = {"database": str(database), "groups": {"Car": 6, "Pedestrian": 4}, "off_for_last": 4}
    tiny["augment"] = {"ground_truth_sampling": pasting, "object_rotation": [-0.3, 0.3], "off_for_last": 2}
    tiny["training"] |= {"average": 0.9, "workers": 2}
    tiny["data"]["validate"] = [{"name": "street", "options": {"length": 1, "seed": 1}}]
    tiny["training"] |= {"epochs": 11, "accumulate": 2, "checkpoint_steps": 3, "validate_every": 2}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tiny))
    return path


def _start(config: Path, out: Path, *more: str, processes: int = 1) -> subprocess.Popen[str]:
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *several, str(ROOT / "tools" / "train.py"), str(config), "--out", str(out), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def _finish(process: subprocess.Popen[str], code: int = 0) -> str:
    try:
        text, _ = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        _stop_with_stacks(str(ROOT / "tools" / "train.py"))
        text, _ = process.communicate(timeout=60)
        pytest.fail(f"training stood still; where each process was:\n{text}")
    assert process.returncode == code, text
    return text


def _stop_with_stacks(program: str) -> None:
    """End the processes that run a program; each prints where it was."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # ended meanwhile
            continue
        if program in words and "torch.distributed.run" not in words:
            os.kill(int(folder.name), signal.SIGABRT)


def _stop_after_first_state(process: subprocess.Popen[str], out: Path, number: int) -> None:
    while not (out / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(random.random())  # anywhere: in a step, while loading, while saving
    process.send_signal(number)


def _assert_equal_weights(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    assert all(first[key].equal(second[key]) for key in first)


def test_a_run_killed_anywhere_ends_with_the_same_bits(config: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    undisturbed = _start(config, whole)
    killed = _start(config, broken)
    _stop_after_first_state(killed, broken, signal.SIGKILL)
    _finish(killed, -signal.SIGKILL)
    assert not (broken / "final.safetensors").exists()
    stopped = _start(config, broken, "--resume", "--set", "training.workers=1")
    _stop_after_first_state(stopped, broken, signal.SIGINT)
    text, _ = stopped.communicate(timeout=150)
    assert stopped.returncode in (130, -signal.SIGINT), text  # the latter while python still imports
    if stopped.returncode == 130:
        assert "continue with --resume" in text.splitlines()[-1]
    _finish(_start(config, broken, "--resume"))
    _finish(undisturbed)
    _assert_equal_weights(whole / "final.safetensors", broken / "final.safetensors")
    assert (broken / "best.safetensors").exists()


def test_an_earlier_run_is_not_overwritten_by_accident(config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").write_bytes(b"precious")
    assert "add --resume" in _finish(_start(config, tmp_path / "run"), 2)
    assert "cannot be read as a checkpoint" in _finish(_start(config, tmp_path / "run", "--resume"), 2)
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == b"precious"


def test_several_processes_share_the_batches(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    text = _finish(_start(config, out, "--set", "training.epochs=4", processes=2))
    assert "batch 8/8 epoch 4" in text  # 6 streets in batches of 2 from each of 2 processes
    assert text.count("weights:") == 1
    assert (out / "final.safetensors").exists()
    text = _finish(_start(config, out, "--resume", "--set", "training.epochs=4"), 2)
    assert "training with 2 processes" in text
