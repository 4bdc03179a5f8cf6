"""What is installed with the nodes: launch files, parameter files, the manifest, transport settings."""

from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from perception_ros.core.settings import Settings
from perception_ros.tasks.catalogue import TASKS

PACKAGE = Path(__file__).resolve().parents[2] / "ros_nodes"
NODES = (*TASKS, "composed")


class Recorded:
    """Stands for a class of launch: keeps what it was made with."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments, self.named = arguments, named


def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "launch": ("LaunchDescription",),
        "launch.actions": ("DeclareLaunchArgument", "SetEnvironmentVariable"),
        "launch.substitutions": ("LaunchConfiguration", "PathJoinSubstitution"),
        "launch_ros": (),
        "launch_ros.actions": ("LifecycleNode",),
        "launch_ros.substitutions": ("FindPackageShare",),
    }
    for module, classes in names.items():
        made = ModuleType(module)
        for name in classes:
            setattr(made, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, made)
    monkeypatch.delitem(sys.modules, "perception_ros.launching", raising=False)


@pytest.mark.parametrize("name", NODES)
def test_launch_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins(monkeypatch)
    path = PACKAGE / "launch" / f"{name}.launch.py"
    specification = importlib.util.spec_from_file_location(f"launch_{name}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    parts = module.generate_launch_description().arguments[0]
    (node,) = (part for part in parts if type(part).__name__ == "LifecycleNode")
    assert node.named["executable"] == f"{name}_node"
    assert [topic for topic, _ in node.named["remappings"]] == ["points", "odometry"]
    files = [part.named["default_value"] for part in parts if part.arguments[:1] == ("parameters",)]
    assert (PACKAGE / "config" / files[0].arguments[0][-1]).is_file()
    sys.modules.pop("perception_ros.launching", None)


@pytest.mark.parametrize("path", sorted((PACKAGE / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_parameter_files(path: Path) -> None:
    """Every key is a parameter of the node, with a value in its range."""
    values = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    task = path.stem.partition("_")[0]
    own = {name: value for name, value in values.items() if "." not in name}
    settings = Settings(task, own)
    for name, value in values.items():
        head, dot, parameter = name.partition(".")
        if dot:
            assert head in settings["heads"]
            Settings(head, {parameter: value})


def test_the_manifest_names_what_is_imported() -> None:
    manifest = ElementTree.parse(PACKAGE / "package.xml").getroot()
    declared = {element.text for element in manifest.findall("exec_depend")}
    text = "\n".join(path.read_text() for path in (PACKAGE / "perception_ros").rglob("*.py"))
    imported = set(re.findall(r"^\s*from (rclpy|launch|launch_ros|\w+_msgs|\w+_interfaces)[. ]", text, re.MULTILINE))
    named = set(re.findall(r'"(\w+)/msg/\w+"', text))
    assert imported | named <= declared
    setup = (PACKAGE / "setup.py").read_text()
    assert manifest.findtext("name") == "perception_ros"
    assert f'version="{manifest.findtext("version")}"' in setup
    assert (PACKAGE / "resource" / "perception_ros").is_file()
    for name in NODES:
        assert re.search(rf"^def {name}\(\)", (PACKAGE / "perception_ros/nodes/main.py").read_text(), re.MULTILINE)


def test_the_transport_holds_whole_clouds() -> None:
    space = {"x": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(PACKAGE / "fastdds" / "profiles.xml").getroot()
    cloud = 130_000 * 32
    assert int(root.findtext(".//x:segment_size", namespaces=space)) >= 8 * cloud
    assert int(root.findtext(".//x:receiveBufferSize", namespaces=space)) >= 4 * cloud
    transports = {element.text for element in root.findall(".//x:transport_descriptor/x:transport_id", space)}
    used = {element.text for element in root.findall(".//x:userTransports/x:transport_id", space)}
    assert transports == used


def test_the_core_knows_no_ros() -> None:
    """Only nodes/ and the launch files import rclpy and its messages."""
    for path in (PACKAGE / "perception_ros").rglob("*.py"):
        if "nodes" not in path.parts and path.name != "launching.py":
            assert not re.search(r"^\s*(import|from) (rclpy|\w+_msgs|launch)", path.read_text(), re.MULTILINE), path
