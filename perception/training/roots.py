"""Where data sets lie, as users write it on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perception.config import parse, read_yaml
from perception.datasets.catalogue import DATASETS, dataset_entry
from perception.errors import PerceptionError


def parse_roots(texts: Sequence[str], config: str | Path) -> dict[str, str]:
    """``NAME:ROOT`` texts as name -> root; a bare ROOT is that of the configuration's only data set with files."""
    roots = {}
    for text in texts:
        name, colon, root = text.partition(":")
        if not colon or name not in DATASETS:
            name, root = _only_rooted(config, text), text
        if not Path(root).is_dir():
            raise PerceptionError(f"no folder {root}", f"the root of {name}", "correct --data")
        roots[name] = root
    return roots


def open_dataset(text: str, **given: Any) -> tuple[str, Any]:
    """The catalogue's name and the data set of ``NAME:ROOT``, with those of the ``given`` options that it knows."""
    name, colon, root = text.partition(":")
    if not colon:
        raise PerceptionError(f"--data {text}", "NAME:ROOT", f"for example kitti:{text}")
    chosen = dataset_entry(name)
    known = chosen.options.__dataclass_fields__
    values = {key: value for key, value in {"root": root, **given}.items() if key in known and value is not None}
    return name, chosen.make(parse(chosen.options, values, f"--data {text}"))


def _only_rooted(config: str | Path, text: str) -> str:
    data = read_yaml(config).get("data")
    listed = [item for part in (data or {}).values() for item in part] if isinstance(data, dict) else []
    names = {item.get("name") for item in listed if isinstance(item, dict)}
    rooted = sorted(n for n in names if n in DATASETS and "root" in DATASETS[n].options.__dataclass_fields__)
    if len(rooted) != 1:
        raise PerceptionError(
            f"--data {text}", f"NAME:ROOT with one of {', '.join(rooted or DATASETS)}", f"for example kitti:{text}"
        )
    return rooted[0]
