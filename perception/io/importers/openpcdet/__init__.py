"""Checkpoints and configurations of OpenPCDet and the repositories built on it."""
