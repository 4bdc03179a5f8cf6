"""Second stages: from proposals of an anchor head and the features around them to refined boxes."""
