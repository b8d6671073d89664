"""The algorithms of broadcast, one file each."""
