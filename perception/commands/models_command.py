"""`perception models`."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

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
    table = Table(box=None, pad_edge=False)
    for column in ("model", "task", "weights", "imports from", "what it is"):
        table.add_column(column, no_wrap=column == "model")
    for name, entry in MODELS.items():
        source = "in the package" if name in shipped else "train or import"
        table.add_row(name, entry.task, source, ", ".join(entry.official) or "-", entry.summary)
    console.print(table)
    return 0


def _show(console: Console, name: str) -> None:
    import yaml

    from perception.config import to_plain
    from perception.models.catalogue import entry

    chosen = entry(name)
    console.print(f"{name}: {chosen.summary}\n", highlight=False)
    console.print(yaml.safe_dump(to_plain(chosen.defaults), sort_keys=False), markup=False, highlight=False)
    if name in shipped_weights():
        card = read_header(shipped_weights()[name]).card
        console.print(
            f"weights in the package: {card.trained_on}\nlicence: {card.licence}\n{card.limits}", markup=False
        )
