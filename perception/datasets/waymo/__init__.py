"""Waymo Open Dataset, version 2 (parquet)."""
