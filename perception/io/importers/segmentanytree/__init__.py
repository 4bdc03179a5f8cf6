"""Checkpoints of SegmentAnyTree."""
