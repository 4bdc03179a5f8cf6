"""nuScenes from its published JSON tables."""
