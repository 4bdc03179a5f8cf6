"""`perception flow` as users type it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.cli import main
from perception.io.writers import write_points
from perception.points import PointCloud
from perception.simulate.flow import street_flow
from perception.simulate.sensor import Lidar

SMALL = Lidar(tuple(2.0 - i / 2 for i in range(50)), azimuth_step=0.5)


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    pair = street_flow(2, SMALL).pair
    paths = [tmp_path / "scans" / f"{n}.npz" for n in range(3)]
    paths[0].parent.mkdir()
    for path, cloud, stamp in zip(paths, (pair.first, pair.second, pair.second), (0.0, 0.1, 0.2)):
        write_points(path, PointCloud(cloud.xyz, {"intensity": cloud.fields["intensity"]}, stamp=stamp))
    return paths


def pose_text(seed: int = 2) -> str:
    return " ".join(map(repr, street_flow(seed, SMALL).pair.pose.ravel().tolist()))


def test_two_scans(scans: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "flow.npz"
    assert main(["flow", *map(str, scans[:2]), "--pose", pose_text(), "--out", str(out), "--picture"]) == 0
    text = capsys.readouterr().out
    assert "icp-clusters" in text
    assert "points move" in text
    assert out.with_suffix(".png").is_file()
    sample = street_flow(2, SMALL)
    found = np.load(out)
    assert sample.labels is not None
    assert found["flow"].shape == (len(sample.pair.first), 3)
    assert found["moving"].dtype == bool
    assert found["dropped"].tolist() == [0, 0]
    assert float(found["seconds"]) == pytest.approx(0.1)
    np.testing.assert_allclose(found["pose"], sample.pair.pose, atol=1e-12)
    still = ~sample.labels.moving & ~found["moving"]
    np.testing.assert_allclose(found["flow"][still], sample.labels.flow[still], atol=0.051)
    assert still.mean() > 0.9


def test_a_sequence_goes_on_where_it_was(scans: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poses = tmp_path / "poses.npy"
    pose = street_flow(2, SMALL).pair.pose
    after = np.linalg.inv(pose)
    np.save(poses, np.stack([np.eye(4), after, after]))
    arguments = [
        "flow",
        str(scans[0].parent),
        "--poses",
        str(poses),
        "--out",
        str(tmp_path / "out"),
        "--model",
        "nearest",
    ]
    assert main(arguments) == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [f.name for f in files] == ["0.npz", "1.npz"]
    before = files[0].stat().st_mtime_ns
    files[1].unlink()
    capsys.readouterr()
    assert main(arguments) == 0
    assert "1 pairs are done already" in capsys.readouterr().out
    assert files[0].stat().st_mtime_ns == before
    np.testing.assert_allclose(np.load(files[1])["flow"], 0, atol=1e-6)  # the same scan twice
    np.testing.assert_allclose(np.load(files[0])["pose"], pose, atol=1e-12)


def test_the_same_file_twice_is_no_motion(scans: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "flow.npz"
    assert main(["flow", str(scans[0]), str(scans[0]), "--out", str(out)]) == 0
    assert not np.load(out)["flow"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}"], "two scans"),
        (["{0}", "{1}", "--pose", "1 2 3"], "16 or 12 numbers"),
        (["{0}", "{1}", "--pose", "2 0 0 0 0 2 0 0 0 0 2 0"], "no rigid motion"),
        (["{1}", "{0}", "--pose", "0 0 0 0 0 0 1"], "before the first"),
        (["{0}", "{1}", "--pose", "900 0 0 0 0 0 1"], "overlap"),
        (["{0}", "{1}", "{2}", "--pose", "0 0 0 0 0 0 1"], "--poses"),
        (["{0}", "{1}", "--model", "deflow"], "no weights of 'deflow'"),
        (["{0}", "{1}", "--model", "pointpillars-small"], "a model for detection"),
        (["{0}", "{1}", "--mounting", "0 0 0 0 0 0 1"], "--poses"),
        (["{0}", "missing.pcd"], "no file"),
    ],
)
def test_what_does_not_work(
    scans: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [a.format(*scans) for a in arguments]
    assert (
        main(["flow", *given, "--out", str(tmp_path / "flow.npz" if "{2}" not in arguments else tmp_path / "o")]) == 1
    )
    assert message in capsys.readouterr().err
    assert not (tmp_path / "flow.npz").exists()


def test_poses_that_are_too_few(scans: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poses = tmp_path / "poses.npy"
    np.save(poses, np.stack([np.eye(4)] * 2))
    assert main(["flow", *map(str, scans), "--poses", str(poses), "--out", str(tmp_path / "out")]) == 1
    assert "2 poses for 3 scans" in capsys.readouterr().err
