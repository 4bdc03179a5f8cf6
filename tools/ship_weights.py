#!/usr/bin/env python3
"""Put the weights of a run into the package, with their card: python tools/ship_weights.py runs/NAME --licence TEXT

The card is kept in the header of the weights and written beside them as Markdown: what they were trained on, under
which licence, by which command, what they score and where their limits are. Scores come from evaluation.json files of
the tools that evaluate, of which those with frames that were trained on are called so.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from card_scores import card_scores

from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.io.weights import Card, WeightsHeader, read_model, save_weights

PACKAGE = Path(__file__).resolve().parents[1] / "perception" / "weights"


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        model, header = read_model(options.run / "final.safetensors")
        evaluations = [json.loads(path.read_text()) for path in options.evaluation]
        card = replace(header.card, licence=options.licence, limits=options.limits, scores=card_scores(evaluations))
        options.folder.mkdir(parents=True, exist_ok=True)
        target = options.folder / f"{header.model}.safetensors"
        save_weights(target, header.model, model, card, half=options.half)
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
        "| score | value |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value:.1f} |" for name, value in card.scores.items()]
    return "\n".join(lines) + "\n"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of tools/train.py")
    parser.add_argument("--licence", required=True, help="of the weights; it follows from the data")
    parser.add_argument("--limits", required=True, help="what the weights are not good for")
    parser.add_argument("--evaluation", type=Path, nargs="*", default=[], help="evaluation.json files")
    parser.add_argument("--half", action="store_true", help="store 16 bits a number; models still compute in 32")
    parser.add_argument("--folder", type=Path, default=PACKAGE, help="default: the package")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
