"""`perception places`: build and add to a map, ask it where a scan was taken, and tell how often it is right."""

from __future__ import annotations

import argparse
from pathlib import Path

from perception.commands.places_evaluate import evaluate
from perception.commands.places_map import add, build
from perception.commands.places_query import query

EXAMPLES = """
examples:
  perception places build drive/velodyne --poses poses.txt --out town.places
  perception places add other_day --poses other.txt --map town.places --drive tuesday
  perception places query scan.bin --map town.places -k 5 --register
  perception places evaluate other_day --poses other.txt --map town.places
  perception places evaluate --map town.places
  perception places evaluate --data kitti_odometry:data/kitti_odometry --method scan-context

Poses are lines of 12 numbers (KITTI), lines of time x y z qx qy qz qw (TUM), or .npy, one for each scan; scans named by
numbers may be some of those that the poses are of. --mounting says where the lidar sits in the frame of the poses.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = actions.add_parser("build", help="make a map of scans with poses")
    _scans(one, "+")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="the map, one file")
    one.add_argument("--drive", default="", metavar="NAME", help="what to call these scans; default: their folder")
    _method(one)
    two = actions.add_parser("add", help="add scans to a map")
    _scans(two, "+")
    two.add_argument("--map", type=Path, required=True, metavar="FILE")
    two.add_argument("--drive", default="", metavar="NAME", help="what to call these scans; default: their folder")
    _method(two)
    three = actions.add_parser("query", help="find where scans were taken")
    three.add_argument("scans", nargs="+", metavar="SCAN", help="files, folders or globs of point clouds")
    three.add_argument("--map", type=Path, required=True, metavar="FILE")
    three.add_argument("-k", type=int, default=5, metavar="K", help="places for each scan; default: %(default)s")
    three.add_argument("--register", action="store_true", help="also lay the scan on that of the nearest place")
    three.add_argument("--out", type=Path, metavar="FILE", help="JSON file for the answers")
    _common(three)
    _method(three)
    four = actions.add_parser("evaluate", help="how often the nearest places are right")
    _scans(four, "*")
    four.add_argument("--map", type=Path, metavar="FILE", help="alone: loops within the map")
    four.add_argument("--data", metavar="NAME:ROOT", help="a data set instead: each run against each other one")
    four.add_argument("--sets", metavar="NAME", help="of --data place_queries:ROOT: NAME_evaluation_*.pickle")
    four.add_argument("--radius", type=float, default=10.0, metavar="M", help="one place; default: %(default)s m")
    four.add_argument("--gap", type=float, default=50.0, metavar="M", help="loops: way between; default: %(default)s m")
    four.add_argument("--official", action="store_true", help="figures as the published evaluations count them")
    four.add_argument("--picture", type=Path, metavar="FILE", help="precision and recall as a .png")
    four.add_argument("--out", type=Path, metavar="FILE", help="JSON file for the figures")
    _method(four)


def run(options: argparse.Namespace) -> int:
    return {"build": build, "add": add, "query": query, "evaluate": evaluate}[options.action](options)


def _scans(parser: argparse.ArgumentParser, number: str) -> None:
    parser.add_argument("scans", nargs=number, metavar="SCAN", help="files, folders or globs of point clouds, in order")
    parser.add_argument("--poses", type=Path, required=number == "+", metavar="FILE", help="poses of the scans")
    parser.add_argument("--mounting", metavar="POSE", help="where the lidar sits in the frame of the poses")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input-format", metavar="F", help="format of the files, where their content does not tell")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


def _method(parser: argparse.ArgumentParser) -> None:
    text = "a model's name or weights file; default: the map's, else the model that comes with the package"
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--model", metavar="NAME_OR_PATH", help=text)
    given.add_argument("--method", choices=["scan-context"], help="a method without learning")
