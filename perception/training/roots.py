"""Where data sets lie, as users write it on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

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


def open_dataset(text: str, options: Mapping[str, Any] | None = None, **given: Any) -> tuple[str, Any]:
    """The catalogue's name and the data set of ``NAME:ROOT`` (``NAME:`` where it has no root), with ``options`` and
    with those of the ``given`` ones that it knows."""
    name, colon, root = text.partition(":")
    if not colon:
        raise PerceptionError(f"--data {text}", "NAME:ROOT", f"for example kitti:{text}")
    chosen = dataset_entry(name)
    known = chosen.options.__dataclass_fields__
    values = {key: value for key, value in {"root": root, **given}.items() if key in known and value not in (None, "")}
    return name, chosen.make(parse(chosen.options, {**values, **(options or {})}, f"--data {text}"))


def add_option(parser: argparse.ArgumentParser, whose: str = "the data sets") -> None:
    """``--option KEY=VALUE ...``, which may be given again and again, for ``parse_options``."""
    parser.add_argument(
        "--option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"further options of {whose}, as in configs/",
    )


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as options of data sets; values are YAML."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise PerceptionError(f"--option {text}", "KEY=VALUE", "for example length=100")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise PerceptionError(f"--option {text}", "a value in YAML", "for example sensors=[hdl64]") from None
    return found


def described(texts: Sequence[str], split: str | None, options: Sequence[str]) -> str:
    """The same for a reader, without the folders of this machine."""
    return ", ".join(part for part in (*(text.partition(":")[0] for text in texts), split, *options) if part)


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
