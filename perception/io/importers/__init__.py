"""Foreign checkpoints: one file a family, each a pure mapping of key names and layouts, loaded strictly."""
