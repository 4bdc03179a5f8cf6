"""The module that stands where mmcv's compiled one is missing, so that mmcv-lite is enough."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

from perception.errors import PerceptionError, missing_extra
from perception.interop.mmcv import boxes, voxels

NAME = "mmcv._ext"
SERVED: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        voxels.hard_voxelize_forward,
        voxels.dynamic_voxelize_forward,
        voxels.dynamic_point_to_voxel_forward,
        voxels.dynamic_point_to_voxel_backward,
        boxes.nms,
        boxes.nms_rotated,
        boxes.box_iou_rotated,
        boxes.points_in_boxes_cpu_forward,
        boxes.points_in_boxes_all_forward,
        boxes.points_in_boxes_part_forward,
    )
}


class StandIn(ModuleType):
    """Our operators by mmcv's names; any other is there, so that mmcv can be imported, and says so when called."""

    def __init__(self) -> None:
        super().__init__(NAME, self.__doc__)
        self.__spec__ = ModuleSpec(NAME, None)
        self.__dict__.update(SERVED)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_: object, **__: object) -> NoReturn:
            raise PerceptionError(
                f"mmcv's operator {name!r}, which mmcv-lite lacks and we do not stand in for",
                f"one of {', '.join(SERVED)}",
                "install mmcv with its compiled operators, or choose a configuration without this layer",
            )

        return absent


def install() -> bool:
    """Put the stand-in where mmcv's compiled module is missing or does not load; whether it stands there now.

    Call it before anything imports ``mmcv.ops``. Raises PerceptionError where there is no mmcv at all.
    """
    if find_spec("mmcv") is None:
        raise missing_extra("mmcv", "mmdet3d")
    if NAME not in sys.modules:
        try:
            importlib.import_module(NAME)
        except ImportError:  # absent, or built against another torch
            stand_in = StandIn()
            sys.modules[NAME] = stand_in
            sys.modules["mmcv"]._ext = stand_in  # type: ignore[attr-defined]
    return isinstance(sys.modules[NAME], StandIn)
