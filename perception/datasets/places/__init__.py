"""Recordings of places, with positions: what models of place recognition learn from and are measured on."""
