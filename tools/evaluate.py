"""Evaluate weights: python tools/evaluate.py runs/second_kitti/final.safetensors --data kitti:data/kitti --split val"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.progress import track

from perception.datasets.catalogue import dataset_entry
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.models.loading import load_with_header
from perception.training.evaluation import evaluate_kitti


def main() -> int:
    options = _options()
    try:
        model, header = load_with_header(options.weights, options.device)
        datasets = [_dataset(text, options) for text in options.data]
        result = evaluate_kitti(
            model,
            datasets,
            header.card.trained_on,
            lambda frames: track(list(frames), "frames", disable=not sys.stderr.isatty()),
        )
        print(f"{header.model}, {result.frames} frames, strict overlaps, percent")
        if result.trained_on:
            print(f"NOTE: {result.trained_on} of these frames were trained on: this is no measure of accuracy")
        print(result.table())
        if options.out is not None:
            _write(options.out, {"weights": str(options.weights), "model": header.model, **result.as_dict()})
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _dataset(text: str, options: argparse.Namespace) -> Any:
    name, colon, root = text.partition(":")
    if not colon:
        raise PerceptionError(f"--data {text}", "NAME:ROOT", f"for example kitti:{text}")
    chosen = dataset_entry(name)
    values: dict[str, Any] = {"root": root}
    if name == "kitti":
        values["split"] = options.split
    if "root" not in chosen.options.__dataclass_fields__:
        raise PerceptionError(f"--data {text}", "a data set with files", "evaluate on kitti or kitti_raw")
    return chosen.make(chosen.options(**values))


def _write(folder: Path, values: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "evaluation.json", "w") as file:
        json.dump(values, file, indent=1)
    print(f"written: {folder / 'evaluation.json'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The KITTI figures of a detector, beside those of perfect boxes.")
    parser.add_argument("weights", help="a .safetensors file, or the name of a model whose weights are shipped")
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME:ROOT", help="data sets, evaluated together")
    parser.add_argument("--split", default="val", help="of kitti: training, or a list in ImageSets (default val)")
    parser.add_argument("--out", type=Path, help="folder for evaluation.json")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
