"""The one lifecycle node: what happens to a cloud from its arrival to the results.

receive (newest only) -> read -> process -> build -> publish, for whoever listens, with diagnostics of all of it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import PointCloud2

from perception.errors import PerceptionError
from perception_ros.conversion.messages import RosMessages
from perception_ros.conversion.stamps import nanoseconds_of
from perception_ros.core.health import Health, Level, Limits
from perception_ros.core.settings import Settings, parameters_of
from perception_ros.core.statistics import Window
from perception_ros.nodes.diagnostics import diagnostic_array, gpu_values, latency_values
from perception_ros.nodes.motion_inputs import MotionInputs
from perception_ros.nodes.parameters import checked_change, declare, settings_of
from perception_ros.nodes.qos import SubscriptionEventCallbacks, cloud_profile, mismatches, result_profile
from perception_ros.nodes.worker import Worker
from perception_ros.tasks.catalogue import make_task
from perception_ros.tasks.runner import Runner, Target
from perception_ros.tasks.task import cloud_options

OK, FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PerceptionNode(LifecycleNode):
    """A node of one task. Clouds come on ``points``; results go out below the node's name, as ``~/markers``."""

    def __init__(self, task: str, **options: Any) -> None:
        super().__init__(task, **options)
        self.task = task
        self.messages = RosMessages()
        self.known = dict(parameters_of(task))
        declare(self, self.known)
        self.add_on_set_parameters_callback(self._on_change)
        self.motion = MotionInputs(self, self.messages)
        self.runner: Runner | None = None
        self.worker: Worker[PointCloud2] | None = None
        self._clouds: Any = None
        self._results: dict[tuple[str, str], Any] = {}
        self._latency, self._age, self._arrivals = Window(), Window(), Window()
        self.unheard = 0
        self._diagnostics = self.create_publisher(
            self.messages.type("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", 10
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # under simulated time the others may stand still
        self.health = Health(Limits(), time.monotonic())
        period = self.get_parameter("diagnostics_period").value
        self._timer = self.create_timer(period, self._on_timer, clock=steady)

    # What subclasses with several heads have otherwise.

    def heads(self) -> dict[str, Settings]:
        """The settings of each head."""
        return {self.task: settings_of(self, self.task)}

    def topic_of(self, head: str, topic: str) -> str:
        return f"~/{topic}"

    # Transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the models, make the publishers."""
        try:
            start = time.monotonic()
            self.runner = self._make_runner()
            self.runner.warm()
            self._make_publishers(self.runner)
        except PerceptionError as error:
            self.get_logger().error(f"not configured: {error}")
            self._release(save=False)
            return FAILED
        except Exception:  # rclpy would go to the error state without a word
            self.get_logger().error(f"not configured:\n{traceback.format_exc()}")
            self._release(save=False)
            return FAILED
        names = ", ".join(f"{task.name} ({task.settings['model'] or 'default'})" for task in self.runner.tasks)
        device = self.runner.tasks[0].device
        self.get_logger().info(f"{names} on {device}, ready after {time.monotonic() - start:.1f} s")
        return OK

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to clouds and start to compute."""
        settings = self._settings
        limits = Limits(*(settings[name] for name in ("deadline", "warn_after", "error_after", "silence")))
        self.health = Health(limits, time.monotonic())
        for window in (self._latency, self._age, self._arrivals):
            window.clear()
        self.worker = Worker(self._work, self._on_refused)
        self.worker.start()
        self._profile = cloud_profile(settings["reliability"])
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible)
        self._clouds = self.create_subscription(
            PointCloud2, "points", self._on_cloud, self._profile, event_callbacks=events
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to listen and to compute."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the models go."""
        return self._clean()

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._clean()

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unexpected error in a transition: back to where the node can be configured again."""
        self.get_logger().error("an error in a transition: everything is released")
        self._clean()
        return OK

    def _LifecycleNodeMixin__on_change_state(self, request: Any, response: Any) -> Any:
        # A transition that the state does not have raises in rclpy's service, which would end the process.
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)  # type: ignore[misc]
        except Exception as error:  # RCLError's place differs between distributions
            self.get_logger().warning(f"no transition {request.transition.id} from here: {error}")
            response.success = False
            return response

    # Of a cloud.

    def _on_cloud(self, message: PointCloud2) -> None:
        now = time.monotonic()
        self.health.received(now)
        self._arrivals.add(now, 0.0)
        if self.worker is None or not any(self._listened().values()):
            self.unheard += 1
            return
        self.worker.put(message)

    def _work(self, message: PointCloud2, received: float) -> None:
        runner, topics = self.runner, self._listened()
        if runner is None:
            return
        scan = runner.read(message)
        answers = runner.process(scan, [head for head, asked in topics.items() if asked])
        for key, result in runner.build(self.messages, answers, topics).items():
            self._results[key].publish(result)
        now = time.monotonic()
        self._latency.add(now, now - received)
        age = self.get_clock().now().nanoseconds - nanoseconds_of(message.header.stamp)
        self._age.add(now, age / 1e9)
        self.health.finished(now, now - received)

    def _on_refused(self, problem: str) -> None:
        self.health.refuse(time.monotonic(), problem)
        self.get_logger().warning(f"a cloud was refused: {problem}", throttle_duration_sec=5.0)

    def _listened(self) -> dict[str, list[str]]:
        """The topics of each head that somebody subscribes to."""
        found: dict[str, list[str]] = {}
        for (head, topic), publisher in list(self._results.items()):
            found.setdefault(head, [])
            if publisher.get_subscription_count():
                found[head].append(topic)
        return found

    # Beside the clouds.

    def _on_timer(self) -> None:
        if self.worker is not None and self.worker.broken is not None:
            self.get_logger().error(f"three clouds in a row failed, the node is cleaned up:\n{self.worker.broken}")
            self.trigger_deactivate()
            self.trigger_cleanup()
        now = time.monotonic()
        level, message = (Level.OK, "not active") if self.worker is None else self.health.status(now)
        values = self._values(now)
        stamp, device = self.get_clock().now().to_msg(), values.get("device", "")
        self._diagnostics.publish(
            diagnostic_array(stamp, self.get_fully_qualified_name().lstrip("/"), device, level, message, values)
        )

    def _values(self, now: float) -> dict[str, str]:
        if self.runner is None:
            return {}
        device = self.runner.tasks[0].device
        latency, arrivals, slot = self._latency.summary(now), self._arrivals.summary(now), None
        if self.worker is not None:
            slot = self.worker.slot
        return {
            "device": str(device),
            "rate of clouds (Hz)": f"{arrivals.rate:.2f}",
            "rate of results (Hz)": f"{latency.rate:.2f}",
            **latency_values("latency", latency),
            **latency_values("age of results", self._age.summary(now)),
            "dropped clouds": str(slot.dropped if slot else 0),
            "received clouds": str(slot.received if slot else 0),
            "clouds nobody asked about": str(self.unheard),
            "late results": str(self.health.late),
            "refused clouds": str(self.health.refused),
            "clock jumps": str(self.runner.clock.jumps),
            "points": str(self.runner.points),
            "points dropped": str(self.runner.dropped),
            **self.runner.facts(),
            **gpu_values(device),
        }

    def _on_incompatible(self, event: Any) -> None:
        topic = self._clouds.topic_name if self._clouds is not None else "points"
        lines = mismatches(self, topic, self._profile)
        text = "\n".join(lines) or f"a publisher of another profile than ours: {event.last_policy_kind}"
        self.get_logger().error(f"no clouds from a publisher of {topic}:\n{text}\nsee the parameter reliability")

    def _on_change(self, changes: list[Any]) -> Any:
        return checked_change(self.known, changes, active=self.worker is not None)

    # Making and releasing.

    @property
    def _settings(self) -> Mapping[str, Any]:
        assert self.runner is not None
        return self.runner.tasks[0].settings

    def _make_runner(self) -> Runner:
        heads = self.heads()
        tasks = [make_task(name, settings, self.motion.motion(settings)) for name, settings in heads.items()]
        settings = next(iter(heads.values()))
        target = Target(settings["output_frame"], settings["transform_wait"])
        frames = self.motion.frames() if target.frame else None
        return Runner(tasks, cloud_options(settings), frames, target)

    def _make_publishers(self, runner: Runner) -> None:
        for task in runner.tasks:
            for output in task.outputs:
                if output.optional and not self.messages.has(output.type):
                    self.get_logger().warning(
                        f"{output.type} is not installed: no {self.topic_of(task.name, output.topic)}"
                    )
                    continue
                kind = self.messages.type(output.type)
                self._results[task.name, output.topic] = self.create_lifecycle_publisher(
                    kind, self.topic_of(task.name, output.topic), result_profile()
                )

    def _stop(self) -> None:
        if self._clouds is not None:
            self.destroy_subscription(self._clouds)
            self._clouds = None
        if self.worker is not None and not self.worker.stop():
            self.get_logger().error("the cloud at hand takes more than a minute: it is left behind")
        self.worker = None

    def _clean(self) -> TransitionCallbackReturn:
        self._stop()
        self._release(save=True)
        return OK

    def _release(self, save: bool) -> None:
        if self.runner is not None and save:
            try:
                self.runner.close()
            except PerceptionError as error:
                self.get_logger().error(str(error))
        self.runner = None
        self.motion.close()
        for publisher in self._results.values():
            self.destroy_lifecycle_publisher(publisher)
        self._results.clear()
