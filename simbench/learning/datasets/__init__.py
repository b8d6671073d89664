"""The data to train on, one file each; a new file here is a new ``task.data.kind``."""
