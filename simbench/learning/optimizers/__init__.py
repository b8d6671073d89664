"""The optimisers, one file each; a new file here is a new ``task.optimizer.kind``."""
