"""The ways of being slow, one file each; a new file here is a new ``cluster.stragglers.kind``."""
