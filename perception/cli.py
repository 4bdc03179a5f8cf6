"""The command `perception`: one subcommand a file in ``perception.commands``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console

from perception import __version__
from perception.errors import PerceptionError

# Loaded only when used, so that `perception --help` answers at once.
COMMANDS = {
    "demo": "run a detector on the bundled sample scan and write pictures and a report",
    "detect": "find objects in point cloud files, folders and globs",
    "keypoints": "find people and their joints in point cloud files, folders and globs",
    "trees": "find individual trees in LAS and LAZ files of any size, as ids of points and as a table",
    "flow": "tell the motion of every point between two scans, or along a sequence",
    "places": "tell where a scan was taken: build a map of places, add to it, ask it, evaluate it",
    "info": "say what a point cloud, a weights file or a checkpoint is",
    "models": "list the models and which weights come with the package",
    "import": "convert a checkpoint of another library, strictly",
    "export": "write a detector as ONNX, a compiled package or a TensorRT engine",
}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code is 0 only if everything asked for was done."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="perception", description="3D perception on lidar point clouds.")
    parser.add_argument("--version", action="version", version=f"lidar-perception {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == wanted:
            module = importlib.import_module(f"perception.commands.{name}_command")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse(commands.choices[options.command], unknown)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return options.run(options)
    except PerceptionError as error:
        errors.print("[bold red]error[/]", end=" ")
        errors.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("\nstopped; every result written so far is whole")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away (perception models | head)
        return 0


def _refuse(command: argparse.ArgumentParser, unknown: list[str]) -> NoReturn:
    """End as argparse does, by the command's own usage, and with the option that was meant."""
    options = [name for action in command._actions for name in action.option_strings if name.startswith("--")]
    mistyped = next((argument for argument in unknown if argument.startswith("--")), None)
    close = difflib.get_close_matches(mistyped.partition("=")[0], options, n=1) if mistyped else []
    command.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {close[0]}?" if close else ""))


if __name__ == "__main__":
    sys.exit(main())
