"""The gradient transformations, one file each; a new file here is a new kind in a chain."""
