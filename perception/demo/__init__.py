"""What `perception demo` shows: one chapter a task, on generated scenes that nothing was trained on."""
