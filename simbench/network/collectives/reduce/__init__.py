"""The algorithms of reduce, one file each."""
