"""vision_msgs and tf2_msgs have no wheels: they are built against rclpy's, and the node's messages go through them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is in the environment that `make test-ros` makes")

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
def test_detections_and_transforms_through_their_own_messages(tmp_path: Path) -> None:
    """ROS_MESSAGES_VENV names an environment that was built before, and saves the minutes."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("cmake and a C++ compiler are needed")
    where = Path(os.environ.get("ROS_MESSAGES_VENV", tmp_path / "environment"))
    if not where.is_dir():
        subprocess.run([sys.executable, str(HERE / "build_messages.py"), str(where)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = where / "lib" / version / "site-packages" / "tests_environment.pth"
    ours = sysconfig.get_path("purelib")
    borrowed.write_text(f"import site; site.addsitedir({ours!r})\n")
    # The wheels start Python anew with their libraries once; another environment has libraries of its own.
    wheels = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in wheels},
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[2] / "ros_nodes"), str(HERE)]),
    }
    command = [str(where / "bin" / "python"), str(HERE / "vision_round_trip.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as the library finds them" in done.stdout
