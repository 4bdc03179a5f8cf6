"""Evaluate scene flow: python tools/evaluate_flow.py icp-clusters --data argoverse2_flow:data/argoverse2 --split val"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.progress import track

from perception.datasets.catalogue import DATASETS, dataset_entry
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.scene_flow.methods import BASELINES, flow_method
from perception.training.evaluation_flow import evaluate_flow
from perception.training.roots import add_option, described, open_dataset, parse_options


def main() -> int:
    options = _options()
    try:
        method = flow_method(options.method, options.device)
        for text in options.data:
            name = text.partition(":")[0]
            if dataset_entry(name).task != "flow":
                raise PerceptionError(f"--data {text}", f"a data set of pairs: {', '.join(_flow_sets())}")
        given = {"split": options.split, "version": options.version, "frame": options.frame, "length": options.limit}
        further = parse_options(options.option)
        datasets = [open_dataset(text if ":" in text else f"{text}:", further, **given)[1] for text in options.data]
        result = evaluate_flow(
            method,
            datasets,
            method.trained_on,
            lambda pairs: track(list(pairs), "pairs", disable=not sys.stderr.isatty()),
            options.limit,
            options.results,
        )
        print(f"{method.name}, {result.frames} pairs, {result.title}")
        if result.trained_on:
            print(f"NOTE: {result.trained_on} of these pairs were trained on: this is no measure of accuracy")
        print(result.table())
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            with write_atomically(options.out / "evaluation.json", "w") as file:
                values = {"method": options.method, "data": described(options.data, options.split, options.option)}
                json.dump({**values, **result.as_dict()}, file, indent=1)
            print(f"written: {options.out / 'evaluation.json'}")
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _flow_sets() -> list[str]:
    return [name for name, known in DATASETS.items() if known.task == "flow"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="End-point errors of scene flow: three-way, bucketed, by distance.")
    methods = f"a .safetensors file, a model whose weights are shipped, or {', '.join(BASELINES)}"
    parser.add_argument("method", help=methods)
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="NAME:ROOT", help=f"evaluated together: {', '.join(_flow_sets())}"
    )
    parser.add_argument("--split", default="val", help="of the data set; default: %(default)s")
    add_option(parser)
    parser.add_argument("--version", help="of nuscenes: the folder of tables, by default the one that has the split")
    parser.add_argument("--frame", choices=("vehicle", "lidar"), help="of argoverse2: lidar for OpenSceneFlow's models")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N pairs of each data set only")
    parser.add_argument("--out", type=Path, help="folder for evaluation.json")
    parser.add_argument("--results", type=Path, help="folder for the flow of every pair")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
