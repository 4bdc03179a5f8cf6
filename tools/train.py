"""Train a model: python tools/train.py configs/detection/second_kitti.yaml --data data/kitti"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path

from perception.errors import PerceptionError
from perception.training.fit import Outcome, train
from perception.training.roots import parse_roots
from perception.training.settings import read_experiment


def main() -> int:
    options = _options()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        experiment = read_experiment(options.config, options.set, parse_roots(options.data, options.config))
        folder = options.out or Path("runs") / options.config.stem
        _say(f"{experiment.model} into {folder}; Ctrl-C saves a state that --resume continues from")
        outcome = train(experiment, folder, options.resume, _command(options))
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before a state was saved", file=sys.stderr)
        return 130
    return _report(outcome)


def _say(text: str) -> None:
    """Print in the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def _command(options: argparse.Namespace) -> str:
    """The command for the weights' card, without the folders of this machine."""
    changes = ["--set", *options.set] if options.set else []
    return shlex.join(["python", "tools/train.py", f"configs/detection/{options.config.name}", *changes])


def _report(outcome: Outcome) -> int:
    if outcome.interrupted is not None:
        _say(f"stopped; the state is in {outcome.folder / 'last.ckpt'}, continue with --resume")
        return 128 + outcome.interrupted
    _say(f"weights: {outcome.weights}\nlogs:    {outcome.folder / 'logs'}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a model of the catalogue; torchrun starts it on several GPUs.")
    parser.add_argument("config", type=Path, help="a YAML file of configs/")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change settings")
    parser.add_argument("--out", type=Path, help="folder of the run, by default runs/<name of the config>")
    parser.add_argument("--resume", action="store_true", help="continue from the folder's last.ckpt")
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="[NAME:]ROOT", help="where data sets lie, e.g. kitti:/data/kitti"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
