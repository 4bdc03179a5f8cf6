"""Proof that a model equals its published implementation: stored official answers, compared stage by stage."""
