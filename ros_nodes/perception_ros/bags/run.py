"""A node's pipeline over a bag: every cloud of it, in order, with the motion that the bag has."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception_ros.bags.messages import BagMessages
from perception_ros.bags.reading import ODOMETRY, TRANSFORMS, BagReader, Recorded
from perception_ros.bags.writing import BagWriter
from perception_ros.core.frames import FrameTree
from perception_ros.core.motion import FrameMotion, Motion, NoMotion, OdometryMotion
from perception_ros.core.settings import Settings
from perception_ros.tasks.catalogue import make_task
from perception_ros.tasks.runner import Runner, Target
from perception_ros.tasks.task import cloud_options, mounting_of


@dataclass
class Report:
    """What happened: ``refused`` reasons with their numbers, milliseconds of each cloud from message to messages."""

    clouds: int = 0
    results: int = 0
    points: int = 0
    points_dropped: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    clock_jumps: int = 0

    def plain(self) -> dict[str, Any]:
        """For JSON: percentiles in place of every time."""
        times = np.array(self.milliseconds)
        latency = {f"p{q}": round(float(np.percentile(times, q)), 3) for q in (50, 95, 99)} if len(times) else {}
        seconds = float(times.sum()) / 1e3
        rate = {"clouds_per_second": round(len(times) / seconds, 3)} if seconds else {}
        values = {k: v for k, v in vars(self).items() if k != "milliseconds"}
        return {**values, "latency_ms": latency, **rate}


def run_bag(
    bag: str | Path,
    out: str | Path,
    values: Mapping[str, Mapping[str, Any]],
    topic: str | None = None,
    odometry: str | None = None,
    storage: str = "mcap",
    keep_clouds: bool = False,
    limit: int | None = None,
    report: str | Path | None = None,
) -> Report:
    """Run the heads that ``values`` names, each with those of its parameters that are not the default.

    Results go to the new bag ``out`` under /HEAD/TOPIC, with the stamps and frames that a node would give them and the
    time of recording of their cloud. Transforms on /tf and /tf_static and odometry count up to 0.2 s after a cloud, as
    a node that waits for them would have them. Raises PerceptionError where nothing can be done; single clouds that
    cannot be worked on are counted in the report.
    """
    messages, told = BagMessages(), Report()
    with BagReader(bag) as reader:
        name = reader.cloud_topic(topic)
        motions = _Motions(reader, odometry)
        runner = _runner(values, motions)
        with BagWriter(out, messages, storage) as writer:
            for cloud in motions.clouds(name):
                if limit is not None and told.clouds >= limit:
                    break
                _one(runner, messages, writer, cloud, told, keep_clouds)
        told.clock_jumps = runner.clock.jumps
        runner.close()
    if report is not None:
        facts = {"bag": str(bag), "topic": name, "heads": {task: dict(v) for task, v in values.items()}}
        with write_atomically(report, "w") as file:
            file.write(json.dumps({**facts, **told.plain()}, indent=2) + "\n")
    return told


def _runner(values: Mapping[str, Mapping[str, Any]], motions: _Motions) -> Runner:
    if not values:
        raise PerceptionError("no task", "one or more")
    tasks = []
    for name, given in values.items():
        settings = Settings(name, given)
        tasks.append(make_task(name, settings, motions.motion(settings)))
    settings = tasks[0].settings
    target = Target(settings["output_frame"])
    runner = Runner(tasks, cloud_options(settings), motions.frames, target)
    runner.warm()
    return runner


def _one(
    runner: Runner, messages: BagMessages, writer: BagWriter, cloud: Recorded, told: Report, keep_clouds: bool
) -> None:
    told.clouds += 1
    heads = [task.name for task in runner.tasks]
    topics = {task.name: [output.topic for output in task.outputs] for task in runner.tasks}
    kinds = {(task.name, output.topic): output.type for task in runner.tasks for output in task.outputs}
    if keep_clouds:
        writer.write(cloud.topic, cloud.type, cloud.time, cloud.message)
    start = time.perf_counter()
    try:
        answers = runner.process(runner.read(cloud.message), heads)
        built = runner.build(messages, answers, topics)
    except PerceptionError as error:
        reason = " ".join(str(error).split())
        told.refused[reason] = told.refused.get(reason, 0) + 1
        return
    told.milliseconds.append((time.perf_counter() - start) * 1e3)
    told.points += runner.points
    told.points_dropped += runner.dropped
    for name, answer in answers.items():
        told.results += 1
        for label in getattr(answer.result, "names", ()):
            told.found[f"{name}: {label}"] = told.found.get(f"{name}: {label}", 0) + 1
    for key, message in built.items():
        writer.write("/" + "/".join(key), kinds[key], cloud.time, message)


class _Motions:
    """Reads odometry and transforms a little ahead of the clouds."""

    AHEAD = 200_000_000  # ns

    def __init__(self, reader: BagReader, odometry: str | None) -> None:
        self.reader, self.frames = reader, FrameTree()
        kinds = reader.topics
        self._transforms = {topic for topic, kind in kinds.items() if kind == TRANSFORMS}
        known = sorted(topic for topic, kind in kinds.items() if kind == ODOMETRY)
        self._odometry = odometry or (known[0] if len(known) == 1 else None)
        if odometry is not None and odometry not in known:
            raise PerceptionError(f"no odometry on {odometry!r}", f"one of {', '.join(known) or 'none in the bag'}")
        self._sources: list[OdometryMotion] = []

    def motion(self, settings: Settings) -> Motion:
        kind = settings.get("motion", "none")
        if kind == "tf":
            if not self._transforms:
                raise PerceptionError(f"no /tf in {self.reader.path}", "transforms", "take another motion")
            return FrameMotion(self.frames, settings["fixed_frame"])
        if kind == "odometry":
            if self._odometry is None:
                raise PerceptionError(
                    f"no single topic of {ODOMETRY} in {self.reader.path}", "one", "name it with --odometry"
                )
            source = OdometryMotion(mounting_of(settings))
            self._sources.append(source)
            return source
        return NoMotion()

    def clouds(self, topic: str) -> Sequence[Recorded] | Any:
        """The clouds, each once what was recorded up to ``AHEAD`` after it has been heard."""
        waiting: list[Recorded] = []
        topics = {topic} | self._transforms | ({self._odometry} if self._odometry else set())
        for one in self.reader.messages(topics):
            while waiting and one.time > waiting[0].time + self.AHEAD:
                yield waiting.pop(0)
            if one.topic == topic:
                waiting.append(one)
            elif one.type == TRANSFORMS:
                self.frames.add_message(one.message, fixed=one.topic.endswith("tf_static"))
            else:
                for source in self._sources:
                    source.add_message(one.message)
        yield from waiting
