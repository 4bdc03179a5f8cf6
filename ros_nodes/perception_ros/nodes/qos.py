"""Quality of service of clouds and results, and what to say where two ends do not fit."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks  # type: ignore[no-redef]

__all__ = ["SubscriptionEventCallbacks", "cloud_profile", "describe", "mismatches", "result_profile"]


def cloud_profile(reliability: str) -> QoSProfile:
    """Of SensorDataQoS, but for its depth: only the newest cloud counts. ``reliable`` suits bag players.

    No deadline is asked for: DDS would not connect to a publisher that does not offer one, and drivers offer none.
    """
    kind = ReliabilityPolicy.RELIABLE if reliability == "reliable" else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=kind, durability=DurabilityPolicy.VOLATILE)


def result_profile() -> QoSProfile:
    """Of results: reliable, which subscribers of either kind take."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)


def describe(profile: QoSProfile) -> str:
    """A profile in one line."""
    parts = {
        "reliability": profile.reliability.name,
        "durability": profile.durability.name,
        "history": f"{profile.history.name} {profile.depth}",
        "deadline": _seconds(profile.deadline),
        "liveliness": profile.liveliness.name,
    }
    return ", ".join(f"{name} {value.lower()}" for name, value in parts.items())


def mismatches(node: Node, topic: str, wanted: QoSProfile) -> list[str]:
    """A line for each publisher of the topic whose profile does not serve ours, with both profiles."""
    found = []
    for end in node.get_publishers_info_by_topic(topic):
        offered = end.qos_profile
        unreliable = (
            wanted.reliability == ReliabilityPolicy.RELIABLE and offered.reliability == ReliabilityPolicy.BEST_EFFORT
        )
        volatile = (
            wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL and offered.durability == DurabilityPolicy.VOLATILE
        )
        if unreliable or volatile:
            what = "reliability" if unreliable else "durability"
            found.append(
                f"{end.node_namespace.rstrip('/')}/{end.node_name} does not fit by {what}: "
                f"it offers {describe(offered)}; asked for is {describe(wanted)}"
            )
    return found


def _seconds(duration: Any) -> str:
    nanoseconds = duration.nanoseconds
    return "none" if nanoseconds <= 0 or nanoseconds > 1e18 else f"{nanoseconds / 1e9:g} s"
