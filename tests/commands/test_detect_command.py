"""`perception detect`: results, formats, pictures, and everything that can be wrong with what a user gives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from perception.cli import INTERRUPTED, main
from perception.datasets.kitti.labels import parse_label_lines

CALIBRATION = """P2: 721.5 0 609.5 44.8 0 721.5 172.8 0.2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
"""


def detect(*arguments: object) -> int:
    return main(["detect", *map(str, arguments)])


def test_json_says_what_was_found_and_where(weights: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert detect(scan, "--model", weights, "--out", out, "--picture") == 0
    content = json.loads((out / "scan.json").read_text())
    assert content["points"] == 500
    assert len(content["detections"]) == 5
    first = content["detections"][0]
    assert set(first) == {"class", "score", "centre", "size", "heading", "points"}
    scores = [entry["score"] for entry in content["detections"]]
    assert scores == sorted(scores, reverse=True)
    assert (out / "scan.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in out.iterdir()) == ["scan.json", "scan.png"]


def test_kitti_format_and_camera_view(weights: Path, scan: Path, tmp_path: Path) -> None:
    calib = tmp_path / "calib"
    calib.mkdir()
    (calib / "scan.txt").write_text(CALIBRATION)
    out = tmp_path / "out"
    assert detect(scan, "--model", weights, "--out", out, "--format", "kitti", "--calib", calib) == 0
    found = parse_label_lines((out / "scan.txt").read_text(), "scan.txt")
    assert np.isfinite(found.score).all()
    assert (found.truncated == -1).all()
    assert detect(scan, "--model", weights, "--out", out, "--calib", calib) == 0
    assert json.loads((out / "scan.json").read_text())["points"] < 500


def test_missing_calibration(weights: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(scan, "--model", weights, "--out", tmp_path / "out", "--format", "kitti") == 1
    assert "add --calib FILE" in capsys.readouterr().err
    arguments = ["--out", tmp_path / "out", "--format", "kitti", "--calib", tmp_path / "none.txt"]
    assert detect(scan, "--model", weights, *arguments) == 1
    assert "none.txt" in capsys.readouterr().err


def test_a_thousand_files_with_three_broken(
    weights: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    good = scan.read_bytes()[: 16 * 40]
    for number in range(1000):
        (folder / f"{number:04}.bin").write_bytes(good)
    (folder / "0100.bin").write_bytes(good[:-3])
    (folder / "0500.bin").write_bytes(b"")
    (folder / "0900.bin").write_bytes(b"LASF" + good)
    out = tmp_path / "out"
    assert detect(folder, "--model", weights, "--out", out) == 1
    captured = capsys.readouterr()
    assert "997 of 1000 clouds done" in captured.out
    for name in ("0100.bin", "0500.bin", "0900.bin"):
        assert captured.err.count(f"failed: {folder / name}") == 1
    assert len(list(out.iterdir())) == 997


def test_points_out_of_range_and_not_finite(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = np.full((4, 4), 500, "<f4")
    points[0, 0], points[1, 2] = np.nan, np.inf
    points.tofile(tmp_path / "far.bin")
    arguments = ["--model", weights, "--out", tmp_path / "out", "--input-format", "kitti"]
    assert detect(tmp_path / "far.bin", *arguments) == 0
    line = capsys.readouterr().out
    assert "none of the 2 points is in the model's range" in line
    assert "2 non-finite points dropped" in line
    assert json.loads((tmp_path / "out" / "far.json").read_text())["points_dropped"] == 2


def test_wrong_arguments(weights: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        ([scan, "--model", "secnd"], "'second'"),
        ([scan, "--model", tmp_path / "none.safetensors"], "no file"),
        ([tmp_path / "*.xyz", "--model", weights], "nothing matches"),
        ([tmp_path / "nothing.bin", "--model", weights], "nothing.bin"),
        ([scan, "--model", weights, "--device", "gpu"], "cpu, cuda or cuda:NUMBER"),
        ([scan, "--model", weights, "--score", "3"], "from 0 to 1"),
    ]
    for arguments, message in cases:
        assert detect(*arguments, "--out", tmp_path / "out") == 1
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_output_folder_that_is_a_file(weights: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(scan, "--model", weights, "--out", scan) == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_same_names_in_two_folders_do_not_overwrite(weights: Path, scan: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "drives" / name).mkdir(parents=True)
        (tmp_path / "drives" / name / "0.bin").write_bytes(scan.read_bytes())
    assert detect(tmp_path / "drives", "--model", weights, "--out", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_0.json", "b_0.json"]


def test_ctrl_c_leaves_whole_files(weights: Path, scan: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04}.bin").write_bytes(scan.read_bytes())
    command = [
        sys.executable,
        "-m",
        "perception.cli",
        "detect",
        str(folder),
        "--model",
        str(weights),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs do not hear it
    )
    limit = time.monotonic() + 60
    while len(list(out.glob("*.json")) if out.exists() else []) < 5 and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert "stopped" in errors
    assert "Traceback" not in errors
    results = list(out.iterdir())
    assert 5 <= len(results) < 2000
    for path in results:
        assert path.suffix == ".json"
        json.loads(path.read_text())
