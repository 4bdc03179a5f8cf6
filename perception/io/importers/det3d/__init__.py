"""Checkpoints of det3d: CenterPoint and Focals Conv."""
