#!/usr/bin/env python3
"""Models of mmdet3d on its own operators and on ours: one configuration, one frame, one process, runs alternating.

Needs the environment that ``make test-mmdet3d`` makes. Its sparse convolution is spconv's CPU wheel, right with one
thread only. mmcv-lite has no compiled operators; ``--operators`` loads mmcv's, built apart, for voxels and
suppression of its side. Without it these two are ours on both sides, and the table says so.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, Timing, ratio_table, write_figures
from rich.console import Console
from torch import nn

import perception.interop.mmdet3d  # noqa: F401  registers our layers
from perception.datasets.kitti.calibration import read_object_calibration
from perception.interop.mmcv.stand_in import NAME, SERVED
from perception.io.clouds import read_points
from perception.points import PointBatch

Clock = Callable[[], float]
CONFIGS = {
    "second": "second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py",
    "pointpillars": "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py",
    "centerpoint": "centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py",
    "centerpoint-pillars": "centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py",
}


def main() -> int:
    options = _options()
    torch.set_num_threads(1)
    operators = _load_operators(options.operators)
    clock = time.process_time if options.processor_time else time.perf_counter
    figures: dict[str, Any] = {"mmcv_operators": bool(operators), "repeats": options.repeats, "clock": clock.__name__}
    console = Console()
    for name in options.models:
        ours, theirs = _model(name, ours=True), _model(name, ours=False)
        points = _points(options, ["intensity", "time"] if "centerpoint" in name else ["intensity"])
        _quieten(ours, points)
        theirs.load_state_dict(ours.state_dict())
        rows, same = _measure(ours, theirs, points, operators, options.repeats, clock)
        console.print(f"{name}: {len(points):,} points, boxes {same}", ratio_table(rows, "mmdet3d"))
        figures[name] = {"points": len(points), "rows": [row.as_dict() for row in rows], "boxes": same}
    if not operators:
        console.print("voxels and suppression were ours on both sides: mmcv-lite has none, see --operators")
    if options.out:
        write_figures(options.out, figures)
    return 0


def _measure(
    ours: nn.Module, theirs: nn.Module, points: torch.Tensor, operators: dict[str, Any], repeats: int, clock: Clock
) -> tuple[list[Row], str]:
    """Times of a frame and of its parts, and whether both sides found the same boxes."""
    sides: dict[str, tuple[nn.Module, dict[str, Any]]] = {"ours": (ours, SERVED), "mmdet3d": (theirs, operators)}
    times: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    found: dict[str, Any] = {}
    for repeat in range(repeats + 1):  # the first run compiles and fills caches
        for side, (model, served) in sides.items():
            with _operators(served):
                parts, found[side] = _frame(model, points, clock)
            for part, seconds in parts.items():
                if repeat:
                    times[side].setdefault(part, []).append(seconds)
    rows = [Row(part, Timing.of(times["ours"][part]), Timing.of(times["mmdet3d"][part])) for part in times["ours"]]
    return rows, _compared(found["ours"], found["mmdet3d"])


def _frame(model: nn.Module, points: torch.Tensor, clock: Clock) -> tuple[dict[str, float], Any]:
    """Seconds of the whole frame, of making voxels and of the middle encoder; and the boxes."""
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes

    sample = Det3DDataSample(metainfo={"box_type_3d": LiDARInstance3DBoxes})
    data = {"inputs": {"points": [points]}, "data_samples": [sample]}
    spent: dict[str, float] = {}
    encoder = getattr(model, "middle_encoder", None) or model.pts_middle_encoder
    inner: Callable[..., Any] = type(encoder).forward

    def timed(*arguments: Any, **named: Any) -> Any:
        begin = clock()
        answer = inner(encoder, *arguments, **named)
        spent["middle encoder"] = clock() - begin
        return answer

    encoder.forward = timed
    with torch.inference_mode():
        start = clock()
        ready = model.data_preprocessor(data, False)
        spent["voxels"] = clock() - start
        (result,) = model(**ready, mode="predict")
        spent["frame"] = clock() - start
    del encoder.forward
    return spent, result.pred_instances_3d


def _quieten(model: nn.Module, points: torch.Tensor) -> None:
    """Statistics of this cloud, and biases by which few cells score above 0.1.

    On random weights all empty ground is equal, so that either side may take any of it.
    """
    norms = [layer for layer in model.modules() if hasattr(layer, "running_mean")]
    for layer in norms:
        layer.momentum = 1.0  # type: ignore[assignment]
    _frame(model.train(), points, time.perf_counter)
    model.eval()
    head = getattr(model, "bbox_head", None) or model.pts_bbox_head
    layers = [head.conv_cls] if hasattr(head, "conv_cls") else [task.heatmap[-1] for task in head.task_heads]
    seen: dict[nn.Module, torch.Tensor] = {}

    def keep(layer: nn.Module, _: object, scores: torch.Tensor) -> None:
        seen[layer] = scores[0].flatten(1)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    _frame(model, points, time.perf_counter)
    for handle, layer in zip(handles, layers):
        handle.remove()
        with torch.no_grad():
            layer.bias -= (seen[layer].median(1).values + seen[layer].amax(1)) / 2 + np.log(0.9 / 0.1)


def _compared(ours: Any, theirs: Any) -> str:
    """How many boxes have one of the same class on the other side, each value within a thousandth."""
    first, second = ours.bboxes_3d.tensor, theirs.bboxes_3d.tensor
    near = (first[:, None] - second[None]).abs() <= 1e-3 * (1 + second.abs())  # sizes of random weights are anything
    same = near.all(2) & (ours.labels_3d[:, None] == theirs.labels_3d[None])
    return f"{int(same.any(1).sum())} of {len(first)} and {len(second)} the same"


@contextmanager
def _operators(served: dict[str, Any]) -> Iterator[None]:
    """Let the stand-in for mmcv's compiled module answer with these functions."""
    module = sys.modules[NAME]
    kept = dict(SERVED)
    module.__dict__.update(served)
    try:
        yield
    finally:
        module.__dict__.update(kept)


def _load_operators(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    spec = importlib.util.spec_from_file_location(path.name.split(".")[0], path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no compiled module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: getattr(module, name) for name in SERVED if hasattr(module, name)}


def _model(name: str, ours: bool) -> nn.Module:
    """The published configuration, unchanged on our side; random weights, the same on both."""
    import mmdet3d
    from mmdet3d.models.middle_encoders import SparseEncoder
    from mmdet3d.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet3d")
    chosen = Config.fromfile(Path(mmdet3d.__file__).parent / ".mim" / "configs" / CONFIGS[name]).model
    part = "middle_encoder" if "middle_encoder" in chosen else "pts_middle_encoder"
    if not ours and chosen[part].type == "SparseEncoder":
        chosen = copy.deepcopy(chosen)
        chosen[part].type = SparseEncoder
    torch.manual_seed(0)
    return MODELS.build(chosen).eval()


def _points(options: argparse.Namespace, fields: list[str]) -> torch.Tensor:
    if options.sweeps:
        read = read_points(options.cloud, format="raw", columns=["x", "y", "z", *fields], dtype=options.sweeps)
    else:
        read = read_points(options.cloud)
    if "time" in fields and "time" not in read.fields:  # one sweep: now
        read = replace(read, fields={**read.fields, "time": np.zeros(len(read.xyz), np.float32)})
    if options.calib is not None:
        read = read.select(read_object_calibration(options.calib).in_camera_view(read.xyz))
    return torch.from_numpy(np.ascontiguousarray(PointBatch.from_clouds([read], fields).values))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--cloud", type=Path, required=True, help="a scan of KITTI, or for CenterPoint of nuScenes")
    parser.add_argument(
        "--sweeps", metavar="TYPE", help="the file is rows of x y z intensity time of this type (float16)"
    )
    parser.add_argument("--calib", type=Path, help="its calibration: only points in the camera's view")
    parser.add_argument("--operators", type=Path, metavar="FILE", help="mmcv's compiled operators (.so)")
    parser.add_argument("--processor-time", action="store_true", help="not the clock's: for machines busy otherwise")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures to this .json file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
