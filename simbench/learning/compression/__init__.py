"""The compressions, one file each."""
