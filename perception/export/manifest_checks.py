"""Whether a manifest makes sense and its files are those that were written: both may come from anywhere."""

from __future__ import annotations

from pathlib import Path

from perception.errors import PerceptionError
from perception.export.manifest import Manifest, Segment, digest


def check_sense(manifest: Manifest, path: Path) -> None:
    """PerceptionError for what no export says of itself."""
    problems = []
    if (manifest.anchors is None) == (manifest.centres is None):
        problems.append("needs one of anchors and centres")
    if not manifest.segments:
        problems.append("names no file")
    if len(manifest.segments) != len(manifest.focals) + 1:
        problems.append(f"has {len(manifest.segments)} segments for {len(manifest.focals)} growths")
    if not manifest.classes:
        problems.append("has no classes")
    if min(manifest.limits.points, manifest.limits.voxels) < 2 or manifest.tasks < 1:
        problems.append("allows fewer than two rows")
    if len(manifest.point_fields) > 32:
        problems.append("reads more than 32 fields a point")
    problems += _rule_problems(manifest)
    if problems:
        raise PerceptionError(f"{path} {', '.join(problems)}", "a manifest as it was written", "export the model again")


def _rule_problems(manifest: Manifest) -> list[str]:
    """Numbers that no export has, and that would ask for any amount of memory."""
    rule, found = manifest.voxels, []
    if min(rule.shape) < 1 or max(rule.shape) > 100_000:
        found.append(f"has a grid of {rule.shape} cells")
    if rule.kind == "hard" and not (1 <= rule.max_points <= 4096 and 1 <= rule.max_voxels <= 10_000_000):
        found.append(f"has voxels of {rule.max_points} slots, {rule.max_voxels} of them")
    for table in manifest.tables:
        sizes = (table.kernel, table.stride, table.padding, table.dilation)
        if any(len(size) not in (0, 3) or any(not 0 <= n <= 16 for n in size) for size in sizes) or not table.kernel:
            found.append(f"has the table {table.name} of kernel {table.kernel}")
    found += [f"has sets of {sets.size}" for sets in manifest.sets if not 1 <= sets.size <= 4096]
    found += [f"has growth by {focal.kernel} cells" for focal in manifest.focals if not 1 <= focal.kernel <= 9]
    return found


def check_file(folder: Path, segment: Segment) -> None:
    """PerceptionError for a file that is missing, cut short, changed, or outside the folder."""
    path = folder / segment.file
    if Path(segment.file).name != segment.file or segment.file in ("", ".", ".."):
        raise PerceptionError(f"the manifest names the file {segment.file!r}", "a file in its own folder")
    if not path.is_file():
        raise PerceptionError(f"no file {path}", "the file that the manifest names", "copy the whole folder")
    size = path.stat().st_size
    if size != segment.bytes:
        raise PerceptionError(
            f"{path} has {size:,} bytes", f"{segment.bytes:,}: it is cut short or another file", "copy it again"
        )
    if digest(path) != segment.sha256:
        raise PerceptionError(f"{path} is not what was exported: its checksum differs", segment.sha256, "copy it again")
