"""The models of the catalogue by task."""
