"""Several heads on one cloud: converted once, voxelised once where models agree, one result a head."""

from __future__ import annotations

from typing import Any

from perception.errors import PerceptionError, nearest
from perception_ros.core.settings import Settings, parameters_of
from perception_ros.nodes.base import PerceptionNode
from perception_ros.nodes.parameters import declare, settings_of
from perception_ros.tasks.catalogue import TASKS


class ComposedNode(PerceptionNode):
    """The heads that the parameter ``heads`` names; theirs are ``detection.model`` and so on, topics likewise."""

    def __init__(self, **options: Any) -> None:
        super().__init__("composed", **options)

    def heads(self) -> dict[str, Settings]:
        names = list(dict.fromkeys(settings_of(self, "composed")["heads"]))
        if not names:
            raise PerceptionError("no heads", f"one or more of {', '.join(TASKS)}", "set the parameter heads")
        for name in names:
            if name not in TASKS:
                raise PerceptionError(f"no head {name!r}", f"one of {', '.join(TASKS)}", nearest(name, TASKS))
        for name in names:
            common = parameters_of("common")
            own = {f"{name}.{p}": v for p, v in parameters_of(name).items() if p not in common}
            self.known.update(own)
            declare(self, own)
        return {name: settings_of(self, name, f"{name}.") for name in names}

    def topic_of(self, head: str, topic: str) -> str:
        return f"~/{head}/{topic}"
