"""Plots in LAS and LAZ files whose points know their tree: any folder of them, and FOR-instance's layout."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from perception.datasets.sample import Sample
from perception.datasets.trees.labels import (
    SEMANTIC,
    TREE_ID,
    check_any_tree,
    classes_by_ids,
    clean_ids,
    for_instance_classes,
    id_field,
)
from perception.errors import PerceptionError
from perception.io.las import read_las
from perception.points import PointCloud

Labels = Literal["ids", "for_instance"]
SPLIT_FILE = "data_split_metadata.csv"
SUFFIXES = (".las", ".laz")


class LasTrees:
    """Plots of a folder, in the order of their names; ``files`` names some by path relative to ``root``.

    ``tree_field`` has the ids, None for the first usual name. ``labels``: ``for_instance`` reads the class of each
    point from ``class_field``; ``ids`` takes what has an id for a tree and all else for none, but points of the
    ``unknown`` LAS classes. Clouds have the fields ``tree_id`` (int64) and ``semantic`` (uint8) and no others.
    """

    def __init__(
        self,
        root: str | Path,
        files: Sequence[str] | None = None,
        tree_field: str | None = None,
        labels: Labels = "ids",
        class_field: str = "classification",
        unknown: Sequence[int] = (),
    ) -> None:
        self.root, self.tree_field, self.labels = Path(root), tree_field, labels
        self.class_field, self.unknown = class_field, tuple(unknown)
        if not self.root.is_dir():
            raise PerceptionError(f"no folder {self.root}", "the root of a data set", "check the path")
        if files is None:
            found = sorted(p for p in self.root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            files = [path.relative_to(self.root).as_posix() for path in found]
        self.identifiers = list(files)
        if not self.identifiers:
            raise PerceptionError(f"no LAS or LAZ files in {self.root}", "plots with ids of trees", "check the path")
        for name in self.identifiers:
            if not (self.root / name).is_file():
                raise PerceptionError(f"no file {self.root / name}", "a plot of the list", "correct the list")

    def __len__(self) -> int:
        return len(self.identifiers)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"plot {index} of {len(self)}")
        name = self.identifiers[index]
        return Sample(name, self._labelled(read_las(self.root / name), name))

    def _labelled(self, cloud: PointCloud, name: str) -> PointCloud:
        ids = clean_ids(cloud.fields[id_field(cloud, self.tree_field, name)], name)
        check_any_tree(ids, name)
        classification = cloud.fields.get(self.class_field)
        if self.labels == "for_instance":
            if classification is None:
                raise PerceptionError(f"{name}: no field {self.class_field!r}", "the classes", "correct class_field")
            classes = for_instance_classes(classification, ids, name)
        else:
            classes = classes_by_ids(ids, classification, self.unknown)
        return replace(cloud, fields={TREE_ID: ids, SEMANTIC: classes})


def for_instance(root: str | Path, split: str = "dev", sites: Sequence[str] | None = None) -> LasTrees:
    """FOR-instance's plots of a ``split`` ("dev", "test") as its ``data_split_metadata.csv`` lists them.

    ``sites`` chooses some of its folders (CULS, NIBIO, RMIT, SCION, TUWIEN, ...). Puliti et al. 2023, section 3.
    """
    path = Path(root) / SPLIT_FILE
    if not path.is_file():
        raise PerceptionError(f"no file {path}", "FOR-instance as it is published", "for other folders use trees_las")
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    known = {"path", "split"} <= set(rows[0]) if rows else False
    if not known:
        raise PerceptionError(f"{path} has no columns path and split", "FOR-instance's list of plots")
    chosen = [row for row in rows if row["split"] == split and (sites is None or _site(row) in sites)]
    if not chosen:
        splits = sorted({row["split"] for row in rows})
        folders = sorted({_site(row) for row in rows})
        raise PerceptionError(
            f"no plots of the split {split!r}{'' if sites is None else f' of {list(sites)}'} in {path}",
            f"one of the splits {splits}, and sites among {folders}",
        )
    return LasTrees(root, [row["path"].replace("\\", "/") for row in chosen], "treeID", "for_instance")


def _site(row: dict[str, str]) -> str:
    return row.get("folder") or row["path"].replace("\\", "/").split("/")[0]
