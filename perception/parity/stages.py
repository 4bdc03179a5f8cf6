"""Stage outputs of a model under their official names, and their comparison with stored samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from perception.parity.checks import (
    Check,
    Tolerance,
    close,
    coordinates_digest,
    equal,
    failed,
    root_mean_square,
)
from perception.sparse import SparseTensor

VOXEL_FEATURES = Tolerance(absolute=1e-5, relative=1e-5)
SPARSE = Tolerance(of_spread=2e-4)
DENSE = Tolerance(of_spread=5e-4)
BOXES = Tolerance(absolute=1e-3)


@dataclass(frozen=True, eq=False)
class Stage:
    """``coordinates`` (N, 1 + d) for sparse stages with ``values`` (N, C); dense ones (B, C, H, W); rows (N, C)."""

    values: np.ndarray
    coordinates: np.ndarray | None = None
    spatial_shape: tuple[int, ...] | None = None


@contextmanager
def captured(model: nn.Module, paths: Mapping[str, str]) -> Iterator[dict[str, Stage]]:
    """Collect the outputs of the named submodules during a forward pass."""
    found: dict[str, Stage] = {}
    hooks = []
    for name, path in paths.items():

        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any, name: str = name) -> None:
            found[name] = _stage(inputs[0], output)

        hooks.append(model.get_submodule(path).register_forward_hook(keep))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _stage(given: Any, output: Any) -> Stage:
    if isinstance(output, SparseTensor):
        return Stage(output.features.numpy(), output.coordinates.numpy(), output.sites.spatial_shape)
    if isinstance(output, Tensor) and output.ndim == 2 and hasattr(given, "coordinates"):
        return Stage(output.numpy(), given.coordinates.numpy())
    return Stage(output.numpy())


def compare_stage(
    name: str, stage: Stage | None, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> list[Check]:
    """Compare one stage with the arrays stored under its name; ``facts`` is its entry in the file's meta."""
    keys = tuple(f"{name}/{key}" if key else name for key in arrays)
    if stage is None:
        return [failed(name, "our model does not show this stage", keys)]
    compare = {
        "sparse": _compare_sparse,
        "dense": _compare_dense,
        "rows": _compare_rows,
        "table": _compare_table,
        "meta": _compare_numbers,
    }.get(facts["kind"])
    if compare is None:
        return [failed(name, f"unknown kind of stage {facts['kind']!r}", keys)]
    return compare(name, stage, arrays, facts)


def _compare_sparse(name: str, stage: Stage, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> list[Check]:
    if stage.coordinates is None:
        return [failed(name, "dense here, sparse in the file")]
    coordinates, values = _lexicographic(stage.coordinates, stage.values)
    width = arrays["coords"].shape[1]
    if coordinates.shape[1] != width:
        return [failed(name, f"{coordinates.shape[1]} coordinate columns instead of {width}")]
    checks = [
        equal(f"{name} sites", len(coordinates), facts["n"]),
        equal(f"{name} coordinates", coordinates_digest(coordinates), facts["coords_sha256"]),
    ]
    if facts.get("spatial_shape"):
        checks.append(equal(f"{name} grid", stage.spatial_shape, tuple(facts["spatial_shape"])))
    if "coords_all" in arrays:
        checks.append(equal(f"{name} all coordinates", coordinates, arrays["coords_all"], (f"{name}/coords_all",)))
    if not all(c.passed for c in checks):
        return [*checks, failed(f"{name} values", "not compared: the sites differ")]
    rows = arrays["rows"]
    checks.append(equal(f"{name} rows", coordinates[rows], arrays["coords"], (f"{name}/rows", f"{name}/coords")))
    return checks + _compare_values(name, values[rows], values, arrays, VOXEL_FEATURES if name == "vfe" else SPARSE)


def _compare_dense(name: str, stage: Stage, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> list[Check]:
    checks = [equal(f"{name} shape", stage.values.shape, tuple(facts["shape"]))]
    if not checks[0].passed:
        return checks
    flat = np.moveaxis(stage.values, 1, -1).reshape(-1, stage.values.shape[1])
    checks.append(Check(f"{name} positions", True, 0.0, 0.0, 0, "the places of the samples", (f"{name}/pos",)))
    return checks + _compare_values(name, flat[arrays["pos"]], flat, arrays, DENSE)


def _compare_rows(name: str, stage: Stage, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> list[Check]:
    checks = [equal(f"{name} shape", stage.values.shape, (facts["n"], facts["channels_total"]), (f"{name}/rows",))]
    if not checks[0].passed:
        return checks
    boxes = name.endswith("box_preds")
    sampled = stage.values[arrays["rows"]]
    period = {6: 2 * np.pi} if boxes else None
    return checks + _compare_values(name, sampled, stage.values, arrays, BOXES if boxes else DENSE, period)


def _compare_table(name: str, stage: Stage, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> list[Check]:
    """A small array that is stored whole: (B, C, N), or labels (B, N)."""
    checks = [equal(f"{name} shape", stage.values.shape, tuple(facts["shape"]))]
    if not checks[0].passed:
        return checks
    stored = arrays[""]
    if stored.dtype.kind in "iu":
        return [*checks, equal(name, stage.values, stored, (name,))]
    spread = root_mean_square(stored.std(-1))
    return [*checks, close(name, stage.values, stored, DENSE, spread, (name,))]


def _compare_numbers(
    name: str, stage: Stage, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> list[Check]:
    """A few whole numbers in the file's meta, in its order."""
    return [equal(name, stage.values, [value for key, value in facts.items() if key != "kind"])]


def _compare_values(
    name: str,
    sampled: np.ndarray,
    everything: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    tolerance: Tolerance,
    period: Mapping[int, float] | None = None,
) -> list[Check]:
    """Sampled rows (the stored channels of them), then mean and deviation of every channel over the whole stage."""
    keys = [f"{name}/vals"]
    if "chan" in arrays:
        sampled = sampled[:, arrays["chan"]]
        keys.append(f"{name}/chan")
    spread = root_mean_square(arrays["std"])
    whole = everything.astype(np.float64)
    return [
        close(f"{name} values", sampled, arrays["vals"], tolerance, spread, tuple(keys), period),
        close(f"{name} mean", whole.mean(0), arrays["mean"], tolerance, spread, (f"{name}/mean",)),
        close(f"{name} deviation", whole.std(0), arrays["std"], tolerance, spread, (f"{name}/std",)),
    ]


def _lexicographic(coordinates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort(coordinates.T[::-1])
    return coordinates[order], values[order]
