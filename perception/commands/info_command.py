"""`perception info`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from perception.commands.inputs import find_inputs
from perception.errors import PerceptionError
from perception.io.clouds import describe
from perception.io.importers.checkpoint import open_checkpoint
from perception.io.importers.families import family_of
from perception.io.importers.recognise import likenesses
from perception.io.weights import read_header

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="FILE", help="point clouds, .safetensors weights or checkpoints")
    parser.add_argument("--input-format", metavar="F", help="format of a cloud, where its content does not tell")


def run(options: argparse.Namespace) -> int:
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    failures = 0
    for item in find_inputs(options.inputs):
        try:
            facts = _facts(item.path, options.input_format)
        except PerceptionError as error:
            failures += 1
            errors.print(f"{item.path}\n  {error}", markup=False)
            continue
        table = Table(title=str(item.path), title_justify="left", show_header=False, box=None, pad_edge=False)
        for name, value in facts.items():
            if value not in ("", None):
                table.add_row(name, str(value), style=None)
        console.print(table, soft_wrap=False)
    return 1 if failures else 0


def _facts(path: Path, cloud_format: str | None) -> dict[str, object]:
    if path.suffix == ".safetensors":
        header = read_header(path)
        card = header.card
        return {
            "what": f"weights of {header.model}",
            "classes": ", ".join(header.classes),
            "trained on": card.trained_on,
            "licence": card.licence,
            "scores": ", ".join(f"{name} {value:.1f}" for name, value in card.scores.items()),
            "limits": card.limits,
        }
    if path.suffix in CHECKPOINTS:
        return _checkpoint_facts(path)
    summary = describe(path, format=cloud_format)
    facts: dict[str, object] = {
        "what": f"{summary.format} point cloud {summary.version}".rstrip(),
        "size": f"{summary.size:,} bytes",
        "points": f"{summary.points:,}",
        "fields": ", ".join(f"{name} ({kind})" for name, kind in summary.fields.items()),
        "crs": summary.crs,
        "dropped": f"{summary.dropped:,} points with non-finite coordinates" if summary.dropped else None,
        "problems": "; ".join(summary.problems),
    }
    if summary.extent is not None:
        for axis, low, high in zip("xyz", *summary.extent):
            facts[axis] = f"{low:.3f} to {high:.3f} m"
    return facts


def _checkpoint_facts(path: Path) -> dict[str, object]:
    checkpoint = open_checkpoint(path)
    tensors = checkpoint.tensors
    family = family_of(tensors)
    alike = likenesses(family, tensors) if family else []
    exact = [like.name for like in alike if like.exact]
    near = [like.name for like in alike if not like.exact and not like.strange]
    name = (exact or near or ["NAME"])[0]
    return {
        "what": f"a checkpoint of {family}" if family else "a checkpoint of no family that can be imported",
        "tensors": f"{len(tensors)}, {sum(t.numel() for t in tensors.values()):,} numbers",
        "parts": ", ".join(dict.fromkeys(key.split(".")[0] for key in tensors)),
        "beside them": ", ".join(str(key) for key in checkpoint.extra),
        "fits": ", ".join(exact),
        "fits but for its sizes": "" if exact else ", ".join(near),
        "next": f"perception import {path} --model {name} --out weights.safetensors" if family else None,
    }
