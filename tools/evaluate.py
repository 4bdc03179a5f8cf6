"""Evaluate weights: python tools/evaluate.py runs/second_kitti/final.safetensors --data kitti:data/kitti --split val"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.progress import track

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.models.loading import load_with_header
from perception.training.evaluation import PROTOCOLS, Evaluation, protocol_of
from perception.training.evaluation_keypoints import evaluate_keypoints
from perception.training.roots import add_option, described, open_dataset, parse_options


def main() -> int:
    options = _options()
    try:
        model, header = load_with_header(options.weights, options.device)
        if options.semi_structured:
            from perception.export.semi_structured import to_semi_structured

            to_semi_structured(model)
        given = {"split": options.split, "version": options.version, "infos": options.infos}
        given["keypoints"] = model.task == "keypoints" or None
        names = [text.partition(":")[0] for text in options.data]
        evaluate = evaluate_keypoints if model.task == "keypoints" else protocol_of(names)
        further = parse_options(options.option)
        datasets = [open_dataset(text, further, **given)[1] for text in options.data]
        result: Evaluation = evaluate(
            model,
            datasets,
            header.card.trained_on,
            lambda frames: track(list(frames), "frames", disable=not sys.stderr.isatty()),
        )
        print(f"{header.model}, {result.frames} frames, {result.title}")
        if result.trained_on:
            print(f"NOTE: {result.trained_on} of these frames were trained on: this is no measure of accuracy")
        print(result.table())
        if options.out is not None:
            data = described(options.data, options.split, options.option)
            _write(
                options.out, {"weights": str(options.weights), "model": header.model, "data": data, **result.as_dict()}
            )
        if options.results is not None:
            result.write_results(options.results)
            print(f"written: {options.results}")
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _write(folder: Path, values: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "evaluation.json", "w") as file:
        json.dump(values, file, indent=1)
    print(f"written: {folder / 'evaluation.json'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A detector's figures by the benchmark of the data set.")
    parser.add_argument("weights", help="a .safetensors file, or the name of a model whose weights are shipped")
    names = f"data sets, evaluated together: {', '.join(PROTOCOLS)}"
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME:ROOT", help=names)
    parser.add_argument(
        "--split", default="val", help="kitti: training or a list in ImageSets; nuscenes: val, mini_val"
    )
    add_option(parser)
    parser.add_argument("--version", help="of nuscenes: the folder of tables, by default the one that has the split")
    parser.add_argument("--infos", help="of kitti_infos: the .pkl file")
    parser.add_argument("--out", type=Path, help="folder for evaluation.json")
    parser.add_argument("--results", type=Path, help="where to write the results as the benchmark takes them")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--semi-structured", action="store_true", help="2:4 sparse layers as torch's semi-structured tensors; cuda"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
