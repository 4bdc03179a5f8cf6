"""`perception import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from perception.errors import PerceptionError
from perception.io.importers.families import FAMILIES
from perception.io.importers.importing import Imported, import_checkpoint
from perception.io.weights import Card, save_weights
from perception.models.catalogue import MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of another library (.pth, .ckpt)")
    names = [name for name, chosen in MODELS.items() if set(FAMILIES) & set(chosen.official)]
    parser.add_argument("--model", metavar="NAME", help=f"what it is a checkpoint of: {', '.join(names)}")
    parser.add_argument(
        "--from", dest="family", metavar="FAMILY", help=f"{', '.join(FAMILIES)}; recognised by its names if left out"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the source's own configuration (OpenPCDet's YAML, mmdet3d's or det3d's .py, read but never run), "
        "or a YAML of what differs from our model's defaults (classes, range)",
    )
    parser.add_argument("--out", required=True, type=Path, help="weights file to write (.safetensors)")
    parser.add_argument("--licence", default="unknown", help="licence of the checkpoint, kept in the weights' card")


def run(options: argparse.Namespace) -> int:
    if options.out.suffix != ".safetensors":
        raise PerceptionError(f"--out {options.out}", "a name that ends in .safetensors")
    imported = import_checkpoint(options.checkpoint, options.model, options.family, options.config)
    card = Card(
        trained_on="see the checkpoint's source",
        licence=options.licence,
        source=f"{options.checkpoint.name} ({imported.family})",
        command="perception import",
    )
    save_weights(options.out, imported.name, imported.model, card)
    _say(imported, options.out)
    return 0


def _say(imported: Imported, out: Path) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    report = imported.report
    classes = ", ".join(imported.model.classes)
    console.print(f"{imported.family} checkpoint of {imported.name}{': ' + classes if classes else ''}")
    console.print(f"{len(report.mapped)} tensors mapped, none missing, none left over")
    if report.permuted:
        console.print(f"{len(report.permuted)} sparse kernels turned from spconv 1.x layout")
    if report.supplied:
        console.print(f"{len(report.supplied)} biases set to zero that the source's layers do not have")
    if report.unused:
        console.print(f"not needed: {_few(report.unused)}")
    for note in report.notes:
        console.print(f"note: {note}")
    numbers = sum(tensor.numel() for tensor in imported.model.state_dict().values())
    console.print(f"wrote {out} ({numbers:,} numbers, {out.stat().st_size / 1e6:.1f} MB)")


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
