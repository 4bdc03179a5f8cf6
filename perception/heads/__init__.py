"""From feature maps to predictions, and from labels to what the predictions should have been."""
