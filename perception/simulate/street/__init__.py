"""Streets with traffic."""
