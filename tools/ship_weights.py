#!/usr/bin/env python3
"""Put the weights of a run into the package, with their card: python tools/ship_weights.py runs/NAME --licence TEXT

The card is kept in the header of the weights and written beside them as Markdown: what they were trained on, under
which licence, by which command, what they score and where their limits are. Scores come from evaluation.json files of
tools/evaluate.py and tools/evaluate_trees.py, of which those with frames that were trained on are called so.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.weights import Card, WeightsHeader, read_model, save_weights

PACKAGE = Path(__file__).resolve().parents[1] / "perception" / "weights"


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        model, header = read_model(options.run / "final.safetensors")
        evaluations = [json.loads(path.read_text()) for path in options.evaluation]
        card = replace(header.card, licence=options.licence, limits=options.limits, scores=_scores(evaluations))
        options.folder.mkdir(parents=True, exist_ok=True)
        save_weights(options.folder / f"{header.model}.safetensors", header.model, model, card)
        with write_atomically(options.folder / f"{header.model}.md", "w") as file:
            file.write(card_text(header, card, sum(p.numel() for p in model.parameters())))
    except (PerceptionError, OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {options.folder / header.model}.safetensors and .md")
    return 0


def card_text(header: WeightsHeader, card: Card, parameters: int) -> str:
    """The card as Markdown."""
    lines = [f"# {header.model}", "", f"{parameters:,} parameters; classes: {', '.join(header.classes)}.", ""]
    lines += [f"- **Trained on:** {card.trained_on}", f"- **Licence of these weights:** {card.licence}"]
    lines += [
        f"- **Made by:** `{card.command}`",
        f"- **Limits:** {card.limits}",
        "",
        "| score | percent |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value:.1f} |" for name, value in card.scores.items()]
    return "\n".join(lines) + "\n"


def _scores(evaluations: list[dict[str, Any]]) -> dict[str, float]:
    """Average precision at R40 beside what perfect boxes reach on the same frames; of trees F1, whatever found them."""
    scores = {}
    for evaluation in evaluations:
        if "one_to_one" in evaluation:
            scores |= _tree_scores(evaluation)
            continue
        trained = evaluation["frames_trained_on"]
        where = f"{evaluation['frames']} frames, {f'{trained} of them TRAINED ON' if trained else 'none trained on'}"
        for kind in ("Car", "Pedestrian", "Cyclist"):
            for metric in ("bev", "3d"):
                key = f"{kind}_{metric}/moderate_R40"
                found, best = evaluation["average_precision"].get(key), evaluation["perfect_boxes"].get(key)
                if best:  # 0 where the frames have too few objects for any recall of R40
                    scores[f"{kind}, {metric}, moderate, R40, of {best:.1f} possible; {where}"] = found
    return scores


def _tree_scores(evaluation: dict[str, Any]) -> dict[str, float]:
    """Of these weights, and of the methods without weights that were evaluated beside them."""
    trained, plots, method = evaluation["frames_trained_on"], evaluation["frames"], evaluation["method"]
    method = "these weights" if method.endswith(".safetensors") else method
    where = f"{evaluation['data']}; {plots} plots, {f'{trained} of them TRAINED ON' if trained else 'none trained on'}"
    values = evaluation["one_to_one"]
    return {f"{name}, {method}; {where}": 100 * values[key] for name, key in (("F1", "f1"), ("coverage", "coverage"))}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of tools/train.py")
    parser.add_argument("--licence", required=True, help="of the weights; it follows from the data")
    parser.add_argument("--limits", required=True, help="what the weights are not good for")
    parser.add_argument("--evaluation", type=Path, nargs="*", default=[], help="evaluation.json files")
    parser.add_argument("--folder", type=Path, default=PACKAGE, help="default: the package")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
