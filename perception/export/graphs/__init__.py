"""Models as graphs of tensors: what is traced into an exported file."""
