"""Files and models of other libraries: theirs read, ours offered."""
