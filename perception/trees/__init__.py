"""Individual trees: clustering, proposals, merging over tiles, classical methods and the measures of each tree."""
