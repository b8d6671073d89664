"""The algorithms of all-gather, one file each."""
