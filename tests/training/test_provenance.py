from __future__ import annotations

from perception.training.provenance import describe_frames, frames_of


def test_runs_are_shortened_and_found_again() -> None:
    frames = {
        "kitti": ["000000", "000001", "000002", "000007", "000009", "000010"],
        "kitti_raw": ["2011_09_26_drive_0001_sync/0000000000", "2011_09_26_drive_0001_sync/0000000001"],
        "other": ["morning", "2011-09"],
    }
    text = describe_frames(frames)
    assert "kitti 000000-000002, 000007, 000009-000010;" in text
    assert frames_of(text) == {name: set(listed) for name, listed in frames.items()}


def test_runs_do_not_cross_widths() -> None:
    frames = {"kitti": ["9", "10", "099", "100"]}
    assert frames_of(describe_frames(frames)) == {"kitti": set(frames["kitti"])}


def test_prose_names_no_frames() -> None:
    assert "000001" not in set().union(*frames_of("KITTI train split (3712 frames)").values())
