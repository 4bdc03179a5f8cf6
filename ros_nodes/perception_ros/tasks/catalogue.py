"""All tasks by name: a plain dict."""

from __future__ import annotations

from perception.errors import PerceptionError, nearest
from perception_ros.core.motion import Motion
from perception_ros.core.settings import Settings
from perception_ros.tasks.detection import DetectionTask
from perception_ros.tasks.flow import FlowTask
from perception_ros.tasks.keypoints import KeypointTask
from perception_ros.tasks.places import PlaceTask
from perception_ros.tasks.task import Task
from perception_ros.tasks.trees import TreeTask

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (DetectionTask, KeypointTask, FlowTask, PlaceTask, TreeTask)
}


def make_task(name: str, settings: Settings, motion: Motion | None = None) -> Task:
    """A task, its model loaded. Raises PerceptionError for an unknown name and for what is wrong with the model."""
    if name not in TASKS:
        raise PerceptionError(f"no task {name!r}", f"one of {', '.join(TASKS)}", nearest(name, TASKS))
    return TASKS[name](settings, motion)
