"""Models to charge for, one way each; a new file here is a new ``task.priced_as.kind``."""
