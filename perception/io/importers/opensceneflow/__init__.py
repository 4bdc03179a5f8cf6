"""Checkpoints of OpenSceneFlow and SSF."""
