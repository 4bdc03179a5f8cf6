"""Forests, and the scanners that fly over, drive along and stand in them."""
