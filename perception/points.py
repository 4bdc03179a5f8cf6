"""Point clouds: one recording in the frame of its sensor or map, and batches of them as model input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.errors import PerceptionError


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of one recording.

    ``xyz`` is (N, 3) float32 in metres **relative to** ``origin``, a float64 point: coordinates of a projected
    reference system (UTM: millions of metres) thus keep the precision of their file. Sensor frames have origin zero.
    ``fields`` holds the other values of each point by name, arrays whose first axis is N, in the file's own units.
    ``stamp`` is in seconds. ``dropped`` counts the points that a reader left out because a coordinate was not finite.
    ``metadata`` is what the file says about itself (its format, reference system, header values).
    """

    xyz: np.ndarray
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    frame: str = "lidar"
    stamp: float | None = None
    dropped: int = 0
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        xyz = np.ascontiguousarray(self.xyz, dtype=np.float32)
        if xyz.ndim != 2 or xyz.shape[1] != 3:
            raise PerceptionError(
                f"point coordinates of shape {np.shape(self.xyz)}",
                "an (N, 3) array",
                "pass x, y, z as xyz and every other column as a named field",
            )
        for name, values in self.fields.items():
            if len(values) != len(xyz):
                raise PerceptionError(
                    f"field {name!r} with {len(values)} values for {len(xyz)} points",
                    "one value a point",
                    "check that the columns come from the same file",
                )
        object.__setattr__(self, "xyz", xyz)
        object.__setattr__(self, "fields", MappingProxyType({k: np.asarray(v) for k, v in self.fields.items()}))
        object.__setattr__(self, "origin", np.asarray(self.origin, dtype=np.float64).reshape(3))

    def __len__(self) -> int:
        return len(self.xyz)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in dataclass_fields(self)}
        return _restore, ({**values, "fields": dict(self.fields)},)  # a mapping proxy cannot cross process borders

    def __repr__(self) -> str:
        names = ", ".join(self.fields) or "none"
        return f"PointCloud({len(self):,} points, fields: {names}, frame {self.frame!r})"

    def world(self) -> np.ndarray:
        """Coordinates with the origin added: (N, 3) float64."""
        return self.xyz.astype(np.float64) + self.origin

    def select(self, rows: np.ndarray) -> PointCloud:
        """The points of a boolean mask or an index array, with their fields."""
        return replace(self, xyz=self.xyz[rows], fields={k: v[rows] for k, v in self.fields.items()})

    def with_xyz(self, xyz: np.ndarray) -> PointCloud:
        """The same points at other coordinates (relative to the same origin)."""
        return replace(self, xyz=xyz)

    @classmethod
    def concatenate(cls, clouds: Sequence[PointCloud]) -> PointCloud:
        """Several clouds of the same frame and origin as one; fields that not all of them have are left out."""
        if not clouds:
            raise PerceptionError("no clouds to concatenate", "at least one", "check the input list")
        first = clouds[0]
        if any(c.frame != first.frame or not np.array_equal(c.origin, first.origin) for c in clouds):
            raise PerceptionError(
                "clouds of different frames or origins", "one common frame", "transform them into one frame first"
            )
        common = [name for name in first.fields if all(name in c.fields for c in clouds)]
        return replace(
            first,
            xyz=np.concatenate([c.xyz for c in clouds]),
            fields={name: np.concatenate([c.fields[name] for c in clouds]) for name in common},
            dropped=sum(c.dropped for c in clouds),
        )


def _restore(values: dict[str, Any]) -> PointCloud:
    return PointCloud(**values)


@dataclass(frozen=True, eq=False)
class PointBatch:
    """Points of several clouds as one tensor: what every model starts from.

    ``values`` (N, C) float32, columns x, y, z and then the features a model asked for; ``sample`` (N,) int64, the
    cloud each row belongs to, ascending; ``batch_size`` also counts clouds without points.
    """

    values: Tensor
    sample: Tensor
    batch_size: int

    @property
    def xyz(self) -> Tensor:
        return self.values[:, :3]

    def to(self, device: torch.device | str) -> PointBatch:
        return PointBatch(self.values.to(device), self.sample.to(device), self.batch_size)

    @classmethod
    def from_clouds(
        cls, clouds: Sequence[PointCloud], fields: Sequence[str] = (), device: torch.device | str = "cpu"
    ) -> PointBatch:
        """Stack clouds with the named scalar fields; a cloud that lacks one of them is an error, never zeros."""
        blocks = []
        for number, cloud in enumerate(clouds):
            absent = [name for name in fields if name not in cloud.fields]
            if absent:
                raise PerceptionError(
                    f"cloud {number} has the fields {sorted(cloud.fields)}, without {absent}",
                    f"the fields {list(fields)} that the model was trained on",
                    "choose a model that does without them, or add the field to the cloud",
                )
            columns = [cloud.fields[name].astype(np.float32).reshape(-1, 1) for name in fields]
            blocks.append(np.concatenate([cloud.xyz, *columns], axis=1))
        width = 3 + len(fields)
        values = np.concatenate(blocks) if blocks else np.zeros((0, width), np.float32)
        sample = np.repeat(np.arange(len(clouds)), [len(c) for c in clouds])
        return cls(torch.from_numpy(values).to(device), torch.from_numpy(sample).to(device), len(clouds))
