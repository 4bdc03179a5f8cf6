"""Places without learning."""
