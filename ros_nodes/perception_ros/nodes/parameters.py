"""ROS parameters with types, ranges and descriptions, from the same files as ``core.settings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from perception.errors import PerceptionError
from perception_ros.core.settings import Parameter, Settings, parameters_of

ROS_TYPES = {
    "bool": ParameterType.PARAMETER_BOOL,
    "int": ParameterType.PARAMETER_INTEGER,
    "double": ParameterType.PARAMETER_DOUBLE,
    "string": ParameterType.PARAMETER_STRING,
    "double_array": ParameterType.PARAMETER_DOUBLE_ARRAY,
    "string_array": ParameterType.PARAMETER_STRING_ARRAY,
}


def declare(node: Node, parameters: Mapping[str, Parameter]) -> None:
    """Declare all of them with descriptors; those that are declared already are left."""
    for name, parameter in parameters.items():
        if not node.has_parameter(name):
            default: Any = parameter.default
            if parameter.type in ("double_array", "string_array") and not default:
                kind = RosParameter.Type.DOUBLE_ARRAY
                kind = kind if parameter.type == "double_array" else RosParameter.Type.STRING_ARRAY
                node.declare_parameter(name, kind, descriptor(parameter))  # an empty list has no type of its own
            else:
                node.declare_parameter(name, default, descriptor(parameter))


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    made = ParameterDescriptor(
        name=parameter.name,
        type=ROS_TYPES[parameter.type],
        description=parameter.description,
        additional_constraints=f"one of {', '.join(parameter.choices)}" if parameter.choices else "",
    )
    if parameter.low is not None and parameter.high is not None:
        if parameter.type == "int":
            made.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)]
        else:
            made.floating_point_range = [
                FloatingPointRange(from_value=float(parameter.low), to_value=float(parameter.high), step=0.0)
            ]
    return made


def settings_of(node: Node, task: str, prefix: str = "") -> Settings:
    """The checked values of a task's parameters; those of a head of a composed node have its name in front."""
    common = parameters_of("common")
    values = {}
    for name in parameters_of(task):
        own = name if name in common else prefix + name
        value = node.get_parameter_or(own, None)
        if value is not None and value.value is not None:
            values[name] = list(value.value) if not isinstance(value.value, (bool, int, float, str)) else value.value
    return Settings(task, values)


def checked_change(known: Mapping[str, Parameter], changes: list[RosParameter], active: bool) -> SetParametersResult:
    """Whether parameters may change: in range, and not while the node works: it reads them when configured."""
    for change in changes:
        if change.name not in known:
            continue
        try:
            known[change.name].checked(change.value)
        except PerceptionError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if active:
            return SetParametersResult(
                successful=False,
                reason=f"{change.name} is read when the node is configured: deactivate and clean it up first",
            )
    return SetParametersResult(successful=True)
