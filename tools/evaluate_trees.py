"""Evaluate trees, found by a method or in files: one to one, by height, and as others count.

python tools/evaluate_trees.py segmentanytree-small --data forest: --split test --limit 20
python tools/evaluate_trees.py watershed --data trees_las:data/plots
python tools/evaluate_trees.py --predicted results/ --reference data/plots/
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.progress import track

from perception.datasets.sample import Sample
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.models.loading import load_with_header
from perception.results import TreeInstances
from perception.training.evaluation_tree_files import compare_files
from perception.training.evaluation_trees import TreeEvaluation, evaluate_trees
from perception.training.roots import open_dataset
from perception.trees.classical import METHODS
from perception.view.trees import tree_picture

DATA = ("trees_las", "for_instance", "forest", "forest_trees")


def main(arguments: list[str] | None = None) -> int:
    """0 when the figures are printed, 2 when there are none."""
    options = _options(arguments)
    try:
        name, result = _of_files(options) if options.predicted is not None else _of_method(options)
        print(f"{name}, {result.frames} plots, {result.title}")
        if result.trained_on:
            print(f"NOTE: {result.trained_on} of these plots were trained on: this is no measure of accuracy")
        print(result.table())
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            with write_atomically(options.out / "evaluation.json", "w") as file:
                json.dump({"method": name, "data": _data(options), **result.as_dict()}, file, indent=1)
            print(f"written: {options.out / 'evaluation.json'}")
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _data(options: argparse.Namespace) -> str:
    """What was evaluated on, without the folders of this machine."""
    if options.predicted is not None:
        return f"files {options.reference.name}"
    chosen = {"scanners": options.scanners, "stands": options.kinds, "density": options.density, "seed": options.seed}
    places = [text.partition(":") for text in options.data]
    parts = [", ".join(f"{name} {Path(root).name}".strip() for name, _, root in places), options.split or ""]
    parts += [" ".join(map(str, v if isinstance(v, list) else [k, v])) for k, v in chosen.items() if v is not None]
    return ", ".join(part for part in parts if part)


def _of_files(options: argparse.Namespace) -> tuple[str, TreeEvaluation]:
    if options.reference is None or options.method is not None:
        raise PerceptionError("--predicted", "--reference beside it, and no method", "see --help")
    compared = compare_files(
        options.predicted,
        options.reference,
        options.predicted_field,
        options.reference_field,
        options.labels == "for_instance",
        options.least_points,
        lambda pairs: track(list(pairs), "files", disable=not sys.stderr.isatty()),
    )
    for note in compared.notes:
        print(note, file=sys.stderr)
    return str(options.predicted), compared.evaluation


def _of_method(options: argparse.Namespace) -> tuple[str, TreeEvaluation]:
    if options.method is None or not options.data:
        raise PerceptionError("no method with --data", "both, or --predicted and --reference", "see --help")
    method: Any = options.method
    trained_on = ""
    if method not in METHODS:
        method, header = load_with_header(method, options.device)
        trained_on = header.card.trained_on
        if method.task != "trees":
            raise PerceptionError(
                f"{header.model}, a model for {method.task}", "a model of trees", "`perception models`"
            )
    given = {
        "split": options.split,
        "length": options.limit,
        "tree_field": options.reference_field,
        "labels": options.labels,
        "scanners": options.scanners,
        "kinds": options.kinds,
        "side": options.side,
        "density": options.density,
        "seed": options.seed,
    }
    datasets = []
    for text in options.data:
        if text.partition(":")[0] not in DATA:
            raise PerceptionError(f"--data {text}", f"NAME:ROOT of {', '.join(DATA)}")
        datasets.append(open_dataset(text if ":" in text else f"{text}:", **given)[1])
    evaluation = evaluate_trees(
        method,
        datasets,
        trained_on,
        lambda plots: track(list(plots), "plots", disable=not sys.stderr.isatty()),
        options.limit,
        options.least_points,
        seen=_drawn(options.pictures) if options.pictures is not None else None,
    )
    return options.method, evaluation


def _drawn(folder: Path) -> Callable[[Sample, TreeInstances], None]:
    """Writes a picture of every plot."""
    folder.mkdir(parents=True, exist_ok=True)

    def draw(sample: Sample, found: TreeInstances) -> None:
        name = re.sub(r"[^\w.-]", "_", sample.identifier)
        tree_picture(sample.cloud, found, folder / f"{name}.png", title=sample.identifier)

    return draw


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    methods = f"a .safetensors file, a model whose weights are shipped, or {', '.join(METHODS)}"
    parser.add_argument("method", nargs="?", help=methods)
    parser.add_argument("--data", nargs="+", metavar="NAME:ROOT", help=f"labelled plots: {', '.join(DATA)}")
    parser.add_argument("--predicted", type=Path, help="a LAS or LAZ file with ids that were found, or a folder")
    parser.add_argument("--reference", type=Path, help="the file, or the folder of files of the same names, to compare")
    parser.add_argument("--predicted-field", help="of the ids found; by default tree_id, PredInstance, ...")
    parser.add_argument("--reference-field", help="of the true ids; by default treeID, tree_id, ...")
    parser.add_argument("--labels", choices=("ids", "for_instance"), help="what the classes of references are")
    parser.add_argument("--least-points", type=int, default=1, metavar="N", help="true trees of fewer do not count")
    parser.add_argument("--split", help="for_instance: dev, test; generated forests: train, test")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N plots of each data set only")
    parser.add_argument("--scanners", nargs="+", help="generated forests: airborne, drone, mobile, terrestrial")
    parser.add_argument("--kinds", nargs="+", help="generated forests: spruce, pine, broadleaf, mixed, fir")
    parser.add_argument("--side", type=float, help="generated forests: metres")
    parser.add_argument("--density", type=float, help="generated forests: points a square metre")
    parser.add_argument("--seed", type=int, help="generated forests")
    parser.add_argument("--out", type=Path, help="folder for evaluation.json")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of every plot")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
