"""`perception import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from perception.config import merge, read_yaml
from perception.errors import PerceptionError
from perception.io.importers import openpcdet
from perception.io.weights import Card, save_weights
from perception.models.catalogue import MODELS, entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="an OpenPCDet checkpoint (.pth)")
    names = [name for name, chosen in MODELS.items() if "openpcdet" in chosen.official]
    parser.add_argument("--model", required=True, help=f"what it is a checkpoint of: {', '.join(names)}")
    parser.add_argument("--out", required=True, type=Path, help="weights file to write (.safetensors)")
    parser.add_argument("--config", type=Path, help="YAML of what differs from the model's defaults (classes, range)")
    parser.add_argument("--licence", default="unknown", help="licence of the checkpoint, kept in the weights' card")


def run(options: argparse.Namespace) -> int:
    if options.out.suffix != ".safetensors":
        raise PerceptionError(f"--out {options.out}", "a name that ends in .safetensors")
    chosen = entry(options.model)
    changes = read_yaml(options.config) if options.config else {}
    model = chosen.make(merge(chosen.defaults, changes, str(options.config)))
    state = openpcdet.read_checkpoint(options.checkpoint)
    report = openpcdet.load_official(model, options.model, state, str(options.checkpoint))
    card = Card(trained_on="see the checkpoint's source", licence=options.licence, source=options.checkpoint.name)
    save_weights(options.out, options.model, model, card)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{len(report.mapped)} tensors mapped, none missing, none left over")
    if report.permuted:
        console.print(f"{len(report.permuted)} sparse kernels turned from spconv 1.x layout")
    if report.unused:
        console.print(f"not needed: {', '.join(report.unused)}")
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    console.print(f"wrote {options.out} ({numbers:,} numbers, {options.out.stat().st_size / 1e6:.1f} MB)")
    return 0
