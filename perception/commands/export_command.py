"""`perception export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from perception.commands.inputs import find_inputs
from perception.errors import PerceptionError
from perception.export.manifest import Manifest
from perception.io.clouds import read_points
from perception.models.detector import Detector
from perception.models.loading import load_with_header

EXAMPLES = """
examples:
  perception export pointpillars-small --to onnx --out exported
  perception export second.safetensors --to onnx --out exported --clouds 'drive/*.bin'
  perception export second.safetensors --to engine --precision fp16 --out exported     (on the target)
  perception detect scan.bin --model exported --out results

The written file is run on sample clouds; where its boxes differ from torch's beyond the tolerance, nothing is written.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "model", metavar="MODEL", help="a weights file, or the name of a model whose weights are shipped"
    )
    parser.add_argument(
        "--to",
        choices=("onnx", "aoti", "engine"),
        default="onnx",
        help="onnx: runs on any machine; aoti: torch's compiled package for machines like this one; engine: TensorRT, "
        "for this GPU; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="int8 takes its scales from the clouds; default: %(default)s",
    )
    parser.add_argument("--points", type=int, metavar="N", help="the most points of a cloud; default: a million")
    parser.add_argument("--voxels", type=int, metavar="N", help="the most voxels of a cloud; default: the model's cap")
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="of the ONNX file; default: %(default)s")
    parser.add_argument(
        "--clouds", nargs="+", metavar="INPUT", help="clouds to check and calibrate with; default: a generated street"
    )


def run(options: argparse.Namespace) -> int:
    from perception.export.write import Order, export_model

    console = Console(highlight=False, soft_wrap=True, markup=False)
    clouds = [read_points(item.path) for item in find_inputs(options.clouds)] if options.clouds else []
    model, header = load_with_header(options.model)
    if not isinstance(model, Detector) or model.task != "detection":
        raise PerceptionError(f"{options.model} is a model for {model.task}", "a detector", "see `perception models`")
    order = Order(options.to, options.precision, options.points, options.voxels, options.opset, clouds)
    manifest = export_model(model, header, options.out, order)
    for line in report(manifest, options.out):
        console.print(line)
    return 0


def report(manifest: Manifest, folder: Path) -> list[str]:
    """What was written and how far it is from torch."""
    check = manifest.check
    assert check is not None
    worst = f"{check.worst_box:.2g} m or rad and a score of {check.worst_score:.2g}"
    size = sum(segment.bytes for segment in manifest.segments) / 1e6
    opset = f", opset {manifest.opset}" if manifest.opset else ""
    return [
        f"{folder}: {manifest.model} as {manifest.target}, {manifest.precision}{opset}, {size:.1f} MB in "
        f"{len(manifest.segments)} file{'s' if len(manifest.segments) > 1 else ''}",
        f"takes up to {manifest.limits.points:,} points and {manifest.limits.voxels:,} voxels",
        f"checked on {check.clouds} clouds: {check.boxes} boxes, {check.unmatched} without a partner, "
        f"{check.reordered} suppressed otherwise, others within {worst}",
        f"run it: perception detect CLOUD --model {folder} --out results",
    ]
