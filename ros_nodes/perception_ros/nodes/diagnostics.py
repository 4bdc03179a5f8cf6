"""diagnostic_msgs/DiagnosticArray of a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from perception_ros.core.health import Level
from perception_ros.core.statistics import Summary


def diagnostic_array(
    stamp: Any, name: str, hardware: str, level: Level, message: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """One status with key-value pairs."""
    array = DiagnosticArray()
    array.header.stamp = stamp
    status = DiagnosticStatus(name=name, message=message, hardware_id=hardware)
    status.level = bytes([int(level)])
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    array.status = [status]
    return array


def latency_values(name: str, summary: Summary) -> dict[str, str]:
    """Percentiles in milliseconds, "none" where nothing was measured."""
    numbers = {"p50": summary.p50, "p95": summary.p95, "p99": summary.p99}
    return {f"{name} {key} (ms)": f"{value:.1f}" if summary.number else "none" for key, value in numbers.items()}


def gpu_values(device: torch.device) -> dict[str, str]:
    """Memory that torch holds on a GPU, in MiB."""
    if device.type != "cuda":
        return {}
    used, kept = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    return {"GPU memory used (MiB)": f"{used / 2**20:.0f}", "GPU memory reserved (MiB)": f"{kept / 2**20:.0f}"}
