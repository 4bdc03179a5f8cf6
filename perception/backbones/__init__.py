"""From voxels to feature maps."""
