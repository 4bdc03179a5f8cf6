"""`perception trees`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from perception.commands.scan_jobs import device_of
from perception.commands.trees_inputs import forest_files, forest_system, out_files
from perception.commands.trees_job import TreesJob
from perception.errors import PerceptionError, nearest
from perception.io.tree_tables import check_table_name
from perception.models.catalogue import MODELS
from perception.models.loading import load
from perception.trees.classical import METHODS
from perception.trees.forest.settings import ForestSettings, Method, check_method, default_voxel

DEFAULT_METHOD = "watershed"
EXAMPLES = """
examples:
  perception trees plot.laz --out plot_trees.laz --table trees.gpkg
  perception trees flight/*.laz --out flight_trees --table trees.csv --picture
  perception trees plot.las --out out.las --method stems --table trees.geojson
  perception trees plot.laz --out out.laz --method segmentanytree.safetensors
  perception trees region --out region_trees --table trees.gpkg --ray auto

The output is the input, point for point and field for field, with three more dimensions: tree_id (0: none), tree_score
and semantic (1: tree). Several files are one forest: trees at their borders are whole and have one id. A run that was
stopped goes on where it was when it is started again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="LAS, LAZ or COPC files, folders or globs")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help=".las or .laz file; or a folder")
    parser.add_argument("--table", type=Path, metavar="FILE", help="one row a tree: .gpkg, .csv or .geojson")
    parser.add_argument(
        "--method",
        default=DEFAULT_METHOD,
        metavar="NAME_OR_PATH",
        help="watershed or li2012 (airborne), stems (terrestrial, mobile), or a model: its name, or a file of weights; "
        "default: %(default)s",
    )
    parser.add_argument("--tile", type=float, default=40.0, metavar="M", help="metres; default: %(default)s")
    parser.add_argument(
        "--overlap", type=float, default=10.0, metavar="M", help="metres a tile sees around it; default: %(default)s"
    )
    parser.add_argument(
        "--thinning", type=float, metavar="M", help="the method sees one point in M metres; default: by the method"
    )
    parser.add_argument(
        "--normalise", action="store_true", help="models: heights above the ground, not above the lowest point"
    )
    parser.add_argument("--least-points", type=int, default=10, metavar="N", help="smallest tree; default: %(default)s")
    parser.add_argument("--crs", metavar="EPSG:N", help="reference system of files that name none")
    parser.add_argument("--picture", action="store_true", help="also draw the trees from above and from the side")
    parser.add_argument("--ray", metavar="ADDRESS", help="run tiles on a Ray cluster; 'local' starts one here")
    parser.add_argument("--resume", action="store_true", help="go on with a stopped run, or fail if there is none")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


def run(options: argparse.Namespace) -> int:
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    method = _method(options)
    check_method(method)
    settings = ForestSettings(
        tile=options.tile,
        overlap=options.overlap,
        voxel=options.thinning if options.thinning is not None else default_voxel(method),
        least_points=options.least_points,
        normalise=options.normalise,
    )
    settings.check()
    if options.table is not None:
        check_table_name(options.table)
    headers = forest_files(options.inputs, errors)
    system = forest_system(headers, options.crs)
    job = TreesJob(
        method,
        options.method,
        settings,
        system,
        out_files(headers, options.out),
        options.table,
        options.picture,
        options.ray,
        errors,
    )
    if options.resume and not job.started(headers, options.out):
        raise PerceptionError(
            f"nothing to go on with: {job.state(options.out)} is not there, or of other files",
            "the folder that a stopped run leaves beside its output",
            "leave out --resume",
        )
    for line in job.run(headers, options.out):
        console.print(line, markup=False)
    return 0


def _method(options: argparse.Namespace) -> Method:
    """A classical method by its name, or a model: of the package, or a weights file."""
    name: str = options.method
    if name in METHODS:
        return name
    known = [*METHODS, *(model for model, entry in MODELS.items() if entry.task == "trees")]
    path = Path(name)
    if not path.suffix and len(path.parts) == 1 and not path.exists() and name not in MODELS:
        raise PerceptionError(f"no method {name!r} of finding trees", "a weights file or a name", nearest(name, known))
    return load(name, device_of(options.device))
