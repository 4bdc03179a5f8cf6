"""Train a model: python tools/train.py configs/detection/second_kitti.yaml --data data/kitti"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path

from check_data import check_experiment_data, show_findings
from rich.console import Console

from perception.errors import PerceptionError
from perception.models.catalogue import entry
from perception.training.fit import Outcome, train
from perception.training.roots import parse_roots
from perception.training.settings import Experiment, read_experiment

FRAMES_CHECKED = 20


def main() -> int:
    options = _options()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        experiment = read_experiment(options.config, _changes(options), parse_roots(options.data, options.config))
        folder = options.out or Path("runs") / options.config.stem
        _say(f"{experiment.model} into {folder}; Ctrl-C saves a state that --resume continues from")
        if not (options.resume or options.no_check):
            _check(experiment)
        outcome = train(experiment, folder, options.resume, _command(options))
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before a state was saved", file=sys.stderr)
        return 130
    return _report(outcome)


def _check(experiment: Experiment) -> None:
    """Look at a few frames' labels first; raises PerceptionError where training would be useless."""
    if os.environ.get("RANK", "0") != "0" or entry(experiment.model).task in ("flow", "trees", "places"):
        return  # labels of flow are made of boxes when they are read; plots of trees have no boxes
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    report = check_experiment_data(experiment, FRAMES_CHECKED, console)
    if report.findings:
        show_findings(report, console)
    if not report.usable:
        raise PerceptionError(
            f"the labels of {report.frames} frames looked at make training useless, see above",
            "labels that fit the clouds and the model",
            "correct them (tools/check_data.py looks at more frames), or add --no-check",
        )


def _changes(options: argparse.Namespace) -> list[str]:
    """Settings that the command line changes in the configuration."""
    initial = [f"start_from={options.init}"] if options.init else []
    return [*options.set, *initial, *(["reinitialise_head=true"] if options.reinit_head else [])]


def _say(text: str) -> None:
    """Print in the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def _command(options: argparse.Namespace) -> str:
    """The command for the weights' card, without the folders of this machine."""
    changes = ["--set", *options.set] if options.set else []
    changes += ["--init", options.init.name] if options.init else []
    changes += ["--reinit-head"] if options.reinit_head else []
    return shlex.join(["python", "tools/train.py", _config_name(options.config), *changes])


def _config_name(path: Path) -> str:
    """The configuration from the folder configs/ on, where it lies in one."""
    parts = path.absolute().parts
    return "/".join(parts[parts.index("configs") :]) if "configs" in parts else path.name


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
    parser.add_argument("--init", type=Path, metavar="FILE", help="start from this .safetensors file")
    parser.add_argument("--reinit-head", action="store_true", help="of --init take all but the head (other classes)")
    parser.add_argument("--no-check", action="store_true", help="do not look at the labels first")
    parser.add_argument("--resume", action="store_true", help="continue from the folder's last.ckpt")
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="[NAME:]ROOT", help="where data sets lie, e.g. kitti:/data/kitti"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
