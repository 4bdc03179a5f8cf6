"""`perception trees`, once its options are understood: a forest through the method, and its results to their files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from perception.commands.trees_inputs import metres_in_a_step
from perception.errors import PerceptionError
from perception.io.las_extend import Dimension, extend_las
from perception.io.las_header import LasHeader
from perception.io.las_tiles import MANIFEST
from perception.io.reference_systems import ReferenceSystem
from perception.io.tree_tables import write_tree_table
from perception.trees.forest.forest import Forest, Runner, Step, run_here, segment_forest
from perception.trees.forest.settings import ForestSettings, Method
from perception.trees.forest.sketch import draw_forest


@dataclass(frozen=True)
class TreesJob:
    """One forest; ``targets``: where the cloud of each file goes."""

    method: Method
    name: str
    settings: ForestSettings
    system: ReferenceSystem | None
    targets: Sequence[Path]
    table: Path | None
    picture: bool
    ray: str | None
    console: Console

    def state(self, out: Path) -> Path:
        """The folder beside the output that keeps what is done until all is."""
        out = out.absolute()
        return out.with_name(f".{out.name}.trees")

    def started(self, headers: Sequence[LasHeader], out: Path) -> bool:
        return (self.state(out) / MANIFEST).is_file()

    def run(self, headers: Sequence[LasHeader], out: Path) -> Iterator[str]:
        """Do it all; answers lines for the user. The state goes away only when every result is in its place."""
        work = self.state(out)
        unit, said = metres_in_a_step(headers, self.system)
        with self._runner() as runner, self._steps() as step:
            paths = [header.path for header in headers]
            forest = segment_forest(paths, work, self.method, self.settings, step, runner, unit)
            notes = list(self._write_clouds(forest, step))
            if self.table is not None:
                notes += write_tree_table(self.table, forest.trees, self.system)
            if self.picture:
                draw_forest(forest, unit, self._picture_path(out))
        shutil.rmtree(work, ignore_errors=True)
        yield from notes
        yield from said
        yield self._summary(forest)

    def _write_clouds(self, forest: Forest, step: Step) -> Iterator[str]:
        for number, (header, target) in enumerate(zip(forest.headers, self.targets)):
            ids, score, semantic = forest.columns(number)
            dimensions = {
                "tree_id": Dimension(ids, "tree, 0 for none"),
                "tree_score": Dimension(score, "of the tree, 0 to 1"),
                "semantic": Dimension(semantic, "0 other, 1 tree"),
            }
            for change in extend_las(header, target, dimensions, step(f"writing {target.name}")):
                yield f"{target.name}: {change}"

    def _picture_path(self, out: Path) -> Path:
        return out / "trees.png" if out.is_dir() else out.with_suffix(".png")

    def _summary(self, forest: Forest) -> str:
        points = sum(header.points for header in forest.headers)
        share = forest.points_in_trees / points if points else 0.0
        where = f"{self.targets[0]}" if len(self.targets) == 1 else f"{len(self.targets)} files"
        return f"{len(forest.trees):,} trees in {points:,} points ({share:.0%} of them in trees): {where}"

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        if self.ray is None:
            yield run_here
            return
        try:
            from perception.trees.forest.on_ray import ray_runner
        except ImportError:
            raise PerceptionError("--ray, but ray is not installed", "pip install 'lidar-perception[ray]'") from None
        with ray_runner(self.ray) as runner:
            yield runner

    @contextmanager
    def _steps(self) -> Iterator[Step]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        left = (TextColumn("left"), TimeRemainingColumn())
        with Progress(*columns, *left, console=self.console, disable=not self.console.is_terminal) as progress:

            def step(text: str) -> Callable[[int, int], None]:
                task = progress.add_task(text, total=None)
                return lambda done, total: progress.update(task, completed=done, total=total)

            yield step
