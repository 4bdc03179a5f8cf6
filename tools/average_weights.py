r"""Average the weights of several runs of one model into one file (model soups).

python tools/average_weights.py runs/a/final.safetensors runs/b/final.safetensors --statistics street: \
    --out soup.safetensors
python tools/average_weights.py runs/*/final.safetensors --statistics kitti:data/kitti --greedy kitti:data/kitti \
    --split val --out soup.safetensors
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from perception.errors import PerceptionError
from perception.io.weights import save_weights
from perception.models.model import Model
from perception.points import PointCloud
from perception.training.evaluation import protocol_of
from perception.training.roots import add_option, open_dataset, parse_options
from perception.training.soup import (
    Soup,
    estimate_statistics,
    greedy_soup,
    read_ingredients,
    soup_card,
    uniform_soup,
)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        ingredients = read_ingredients(options.weights)
        first = ingredients[0]
        if first.model.task != "detection":
            raise PerceptionError(f"a model for {first.model.task}", "detectors", "average weights of detectors")
        clouds = _clouds(options)
        models = [item.model for item in ingredients]

        def finish(model: Model) -> Model:
            return estimate_statistics(model, clouds)

        if options.greedy:
            judge = _judge(options.greedy, options.split)
            soup: Soup = greedy_soup(models, finish, judge)
            for name, score in soup.scores:
                print(f"{name}: {score:.2f}")
        else:
            soup = uniform_soup(models, finish)
        about = f"statistics of normalisation from {len(clouds)} clouds of {options.statistics.partition(':')[0]}"
        if len(soup.chosen) == 1:
            about = "its own statistics of normalisation: no average was better"
        command = shlex.join(["python", "tools/average_weights.py", *(arguments or sys.argv[1:])])
        save_weights(options.out, first.header.model, soup.model, soup_card(ingredients, soup, about, command))
        print(f"written: {options.out}, of {', '.join(str(ingredients[n].path) for n in soup.chosen)}")
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _clouds(options: argparse.Namespace) -> list[PointCloud]:
    given = {"split": options.statistics_split, "length": options.frames}
    _, dataset = open_dataset(options.statistics, parse_options(options.option), **given)
    return [dataset[number].cloud for number in range(min(options.frames, len(dataset)))]


def _judge(text: str, split: str) -> Any:
    """A model's score on validation data: the mean AP of the classes in 3D, moderate, R40, by KITTI's benchmark."""
    name, dataset = open_dataset(text, split=split)
    evaluate = protocol_of([name])

    def score(model: Model) -> float:
        found = evaluate(model, [dataset]).as_dict()
        if "average_precision" not in found:
            raise PerceptionError(f"--greedy {text}", "a data set that KITTI's benchmark evaluates (kitti, kitti_raw)")
        best = {k: v for k, v in found["perfect_boxes"].items() if k.endswith("_3d/moderate_R40") and v > 0}
        if not best:
            raise PerceptionError(f"--greedy {text}: too few objects to score", "more frames", "add frames")
        return sum(float(found["average_precision"][key]) for key in best) / len(best)

    return score


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One weights file of the average of several runs of one model.")
    parser.add_argument("weights", nargs="+", type=Path, help="the runs' .safetensors files")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--statistics", required=True, metavar="NAME:ROOT", help="data for the statistics of normalisation; `street:`"
    )
    parser.add_argument("--statistics-split", default="train", help="of --statistics")
    add_option(parser, "--statistics")
    parser.add_argument("--frames", type=int, default=100, help="so many of its clouds; default: %(default)s")
    parser.add_argument(
        "--greedy", metavar="NAME:ROOT", help="take only runs that raise the AP on this validation data (KITTI's)"
    )
    parser.add_argument("--split", default="val", help="of --greedy; default: %(default)s")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
