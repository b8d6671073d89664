"""The models to train, one file each; a new file here is a new ``task.model.kind``."""
