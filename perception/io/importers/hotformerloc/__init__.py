"""Checkpoints of HOTFormerLoc."""
