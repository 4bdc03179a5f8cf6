"""Seconds by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Stopwatch:
    """Adds up the seconds spent under each name, in the order the names first occur."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        start = self._now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

    @contextmanager
    def watch(self, model: nn.Module, names: tuple[str, ...]) -> Iterator[None]:
        """Time every call of the model's named submodules."""
        started: dict[str, float] = {}
        hooks = []
        for name in names:
            module = model.get_submodule(name)

            def before(module: nn.Module, inputs: object, name: str = name) -> None:
                started[name] = self._now()

            def after(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
                self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - started[name]

            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()
