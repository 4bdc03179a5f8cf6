"""Recorded data sets in their published layouts, and augmentation."""
