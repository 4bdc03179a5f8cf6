"""Worlds larger than a scan with a way around them that is driven twice, the second time in the opposite direction."""
