"""`perception models`."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.text import Text

from perception.io.weights import read_header
from perception.models.catalogue import MODELS
from perception.models.loading import shipped_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="show one model's configuration and the card of its weights")


def run(options: argparse.Namespace) -> int:
    console = Console()
    if options.name:
        _show(console, options.name)
        return 0
    shipped = shipped_weights()
    width = max(map(len, MODELS)) + 2
    for task in dict.fromkeys(entry.task for entry in MODELS.values()):
        console.print(f"[bold]{task}[/]")
        for name, entry in MODELS.items():
            if entry.task == task:
                marked = f"* {name}" if name in shipped else f"  {name}"
                line = Text(f"{marked:<{width}}  {entry.summary}")
                if console.is_terminal:
                    console.print(line, overflow="ellipsis", no_wrap=True)
                else:
                    console.print(line, soft_wrap=True)
    console.print("\n* weights are in the package; train or import the others.\nperception models NAME tells more.")
    return 0


def _show(console: Console, name: str) -> None:
    import yaml

    from perception.config import to_plain
    from perception.models.catalogue import entry

    chosen = entry(name)
    console.print(f"{name}: {chosen.summary}", highlight=False)
    console.print(f"imports checkpoints from: {', '.join(chosen.official) or 'none'}\n", highlight=False)
    console.print(yaml.safe_dump(to_plain(chosen.defaults), sort_keys=False), markup=False, highlight=False)
    if name in shipped_weights():
        card = read_header(shipped_weights()[name]).card
        console.print(
            f"weights in the package: {card.trained_on}\nlicence: {card.licence}\n{card.limits}", markup=False
        )
