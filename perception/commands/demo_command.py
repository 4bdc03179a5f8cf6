"""`perception demo`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from perception.boxes import Boxes3D
from perception.commands.inputs import output_folder
from perception.datasets.sample import Objects
from perception.demo.flow import flow
from perception.demo.people import people
from perception.demo.places import places
from perception.demo.trees import trees
from perception.io.clouds import read_points
from perception.io.detections import detections_to_plain, write_json
from perception.io.weights import Card
from perception.models.loading import load_with_header
from perception.pipeline import perceive
from perception.results import Detections
from perception.timing import Stopwatch
from perception.view.birds_eye import birds_eye
from perception.view.perspective import perspective
from perception.view.report import Chapter, write_report

MODEL = "centerpoint-small"
CHAPTERS: tuple[Callable[[], Chapter], ...] = (people, trees, flow, places)
SAMPLE = "street_000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--score", type=float, default=0.3, help="show detections above this score; %(default)s")


def run(options: argparse.Namespace) -> int:
    console = Console(highlight=False, soft_wrap=True)
    folder = output_folder(options.out)
    watch = Stopwatch()
    samples = Path(str(files("perception"))) / "samples"
    console.print(f"1/5  reading the sample scan {SAMPLE}.bin")
    with watch.lap("read"):
        cloud = read_points(samples / f"{SAMPLE}.bin")
    truth = _read_truth(samples / f"{SAMPLE}.json")
    console.print(f"     {len(cloud):,} points; a generated street, {len(truth)} labelled objects")
    console.print(f"2/5  loading {MODEL}")
    with watch.lap("load model"):
        model, header = load_with_header(MODEL)
    console.print("3/5  detecting (the first call also prepares the compiled parts)")
    with watch.lap("first call"):
        perceive(model, [cloud])
    found = perceive(model, [cloud], watch)[0]
    assert isinstance(found, Detections)
    found = found.select(found.scores > options.score)
    console.print(_table(found), soft_wrap=False)
    console.print("4/5  the other tasks, on scenes made for them")
    chapters = []
    for show in CHAPTERS:
        chapters.append(chapter := show())
        console.print(f"     {chapter.title}: {chapter.text}", markup=False)
    console.print(f"5/5  drawing into {folder}/", markup=False)
    birds_eye(cloud, found, truth, path=folder / "birds_eye.png", title="Bundled sample from above")
    perspective(cloud, found, truth, path=folder / "perspective.png", title="Bundled sample")
    facts = {"source": f"{SAMPLE}.bin", "model": MODEL}
    write_json(folder / "detections.json", detections_to_plain(found, cloud, facts))
    card = f"{MODEL}\n{_card_text(header.card)}"
    report = write_report(
        folder, cloud, found, truth, timing=watch.seconds, model_card=card, facts=facts, chapters=chapters
    )
    frame = sum(seconds for name, seconds in watch.seconds.items() if name not in ("load model", "first call"))
    console.print(f"done: {frame * 1000:.0f} ms a scan on {torch.get_num_threads()} CPU threads; open {report}")
    return 0


def _table(found: Detections) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for column in ("score", "x m", "y m", "z m", "length", "width", "height", "heading deg"):
        table.add_column(column, justify="right")
    for name, score, box in zip(found.names, found.scores.tolist(), found.boxes.values.tolist()):
        heading = np.degrees(box[6])
        table.add_row(name, f"{score:.2f}", *(f"{value:.1f}" for value in box[:6]), f"{heading % 360:.0f}")
    return table


def _read_truth(path: Path) -> Objects:
    content = json.loads(path.read_text())
    boxes = torch.tensor([entry["box"] for entry in content["objects"]], dtype=torch.float32).reshape(-1, 7)
    return Objects(Boxes3D(boxes), np.array([entry["class"] for entry in content["objects"]], dtype=str))


def _card_text(card: Card) -> str:
    return f"trained on: {card.trained_on}\nlicence: {card.licence}\nlimits: {card.limits}"
