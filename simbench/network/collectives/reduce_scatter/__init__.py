"""The algorithms of reduce-scatter, one file each."""
