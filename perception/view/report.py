"""A report of one cloud as a single HTML file: pictures, objects, timing and what is known of the model."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from perception.datasets.sample import Objects
from perception.errors import PerceptionError
from perception.io.files import write_atomically
from perception.points import PointCloud
from perception.results import Detections
from perception.view import colours
from perception.view.birds_eye import birds_eye
from perception.view.perspective import perspective

ROWS = 500
STYLE = """
:root { --paper: #ffffff; --card: #f6f8fa; --ink: #1f2933; --quiet: #5b6b7b; --line: #d9e0e7; --bar: #4a7fa8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0d1117; --card: #161c24; --ink: #e6edf3; --quiet: #93a1b0; --line: #2b3644; --bar: #63b8b0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 12px; }
p.lead { color: var(--quiet); margin: 0 0 24px; }
figure { margin: 0 0 20px; } img { max-width: 100%; border: 1px solid var(--line); border-radius: 8px; display: block; }
figcaption { color: var(--quiet); font-size: 13px; margin-top: 6px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; background: var(--card); color: var(--quiet); font-weight: 600; font-size: 13px; }
th.name, td.name { text-align: left; } td.wrap { white-space: normal; text-align: left; overflow-wrap: anywhere; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; }
.track { width: 260px; height: 10px; border-radius: 5px; background: var(--card); }
.fill { height: 10px; border-radius: 5px; background: var(--bar); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
"""


@dataclass(frozen=True, eq=False)
class Chapter:
    """A further part of a report: what was found in a line of plain text, and ``pictures`` with their captions."""

    title: str
    text: str
    pictures: tuple[tuple[str, Figure], ...] = ()


def write_report(
    folder: str | PathLike[str],
    cloud: PointCloud,
    detections: Detections,
    labels: Objects | None = None,
    *,
    title: str = "Objects in a lidar scan",
    timing: Mapping[str, float] | None = None,
    model_card: str = "",
    facts: Mapping[str, object] | None = None,
    theme: str = "dark",
    name: str = "report.html",
    chapters: Sequence[Chapter] = (),
) -> Path:
    """Write ``name`` into ``folder``, which is made if it is missing, and answer its path.

    ``timing`` seconds by stage in the order of the stages; ``model_card`` plain text; ``facts`` what else is known of
    the sample by name; ``chapters`` come last. The file holds its pictures (in the ``theme`` "dark" or "light") and
    needs nothing beside it; its own colours follow the reader's system.
    """
    if Path(name).name != name or not name:
        raise PerceptionError(f"a report named {name!r}", "a file name without a folder", "pass the folder as folder")
    pictures = [
        ("From above; the tick on a box points along its heading", birds_eye(cloud, detections, labels, theme=theme)),
        ("In perspective, from behind and above", perspective(cloud, detections, labels, theme=theme)),
    ]
    sections = [
        _pictures(pictures),
        _section("Objects", _objects(detections)),
        _section("Timing", _timing(timing)) if timing else "",
        _section("Sample", _facts({**_own_facts(cloud, labels), **(facts or {})})),
        _section("Model", f"<pre>{escape(model_card.strip())}</pre>") if model_card.strip() else "",
        *(
            _section(chapter.title, f"<p>{escape(chapter.text)}</p>\n{_pictures(chapter.pictures)}")
            for chapter in chapters
        ),
    ]
    number = f"{len(detections)} object{'' if len(detections) == 1 else 's'} in {len(cloud):,} points"
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{number}</p>\n{"".join(sections)}</body>\n</html>\n'
    )
    path = Path(folder) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PerceptionError(
            f"{folder} cannot be made: {error.strerror}", "a folder to write the report into"
        ) from error
    with write_atomically(path, "w") as handle:
        handle.write(page)
    return path


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{body}\n"


def _pictures(pictures: Sequence[tuple[str, Figure]]) -> str:
    parts = []
    for caption, figure in pictures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", facecolor=figure.get_facecolor())
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        parts.append(
            f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        )
    return "".join(parts)


def _objects(detections: Detections) -> str:
    if not len(detections):
        return "<p>No objects were found.</p>"
    look = colours.theme("dark")
    values, scores = detections.boxes.values.detach().cpu().numpy(), detections.scores.detach().cpu().tolist()
    rows = []
    for i, (name, score, box) in enumerate(zip(detections.names[:ROWS], scores, values)):
        dot = f'<span class="dot" style="background:{colours.class_colour(name, look)}"></span>'
        numbers = [f"{v:.2f}" for v in box[:6]] + [f"{np.degrees(box[6]):.0f}°", f"{np.hypot(box[0], box[1]):.1f}"]
        cells = "".join(f"<td>{number}</td>" for number in numbers)
        rows.append(f'<tr><td>{i + 1}</td><td class="name">{dot}{escape(name)}</td><td>{score:.3f}</td>{cells}</tr>\n')
    names = ("x [m]", "y [m]", "z [m]", "length [m]", "width [m]", "height [m]", "heading", "distance [m]")
    head = '<th>#</th><th class="name">class</th><th>score</th>' + "".join(f"<th>{n}</th>" for n in names)
    more = f"<p>The first {ROWS} of {len(detections)}.</p>" if len(detections) > ROWS else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{"".join(rows)}</tbody></table></div>{more}'
    )


def _timing(timing: Mapping[str, float]) -> str:
    total = sum(timing.values())
    rows = "".join(
        f'<tr><td class="name">{escape(stage)}</td><td>{1000 * seconds:.1f} ms</td><td class="name"><div class="track">'
        f'<div class="fill" style="width:{100 * seconds / max(total, 1e-12):.1f}%"></div></div></td></tr>\n'
        for stage, seconds in timing.items()
    )
    rows += f'<tr><td class="name"><b>all</b></td><td><b>{1000 * total:.1f} ms</b></td><td></td></tr>\n'
    head = '<th class="name">stage</th><th>time</th><th class="name">share</th>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _facts(facts: Mapping[str, object]) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(str(key))}</td><td class="wrap">{escape(str(value))}</td></tr>\n'
        for key, value in facts.items()
    )
    return f'<div class="scroll"><table><tbody>\n{rows}</tbody></table></div>'


def _own_facts(cloud: PointCloud, labels: Objects | None) -> dict[str, object]:
    facts: dict[str, object] = {"points": f"{len(cloud):,}", "points dropped, not finite": f"{cloud.dropped:,}"}
    facts["fields"] = ", ".join(cloud.fields) or "none"
    facts["frame"] = cloud.frame
    if np.any(cloud.origin):
        facts["origin [m]"] = ", ".join(f"{v:.2f}" for v in cloud.origin)
    if len(cloud):
        low, high = cloud.xyz.min(0), cloud.xyz.max(0)
        facts["extent [m]"] = " × ".join(f"{v:.1f}" for v in high - low)
    if labels is not None:
        facts["labelled objects"] = len(labels)
    return facts
