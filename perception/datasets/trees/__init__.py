"""Plots with the tree of each point: LAS and LAZ files, FOR-instance, generated forests; crops for training."""
