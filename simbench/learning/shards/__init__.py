"""The ways of sharing samples out, one file each; a new file here is a new ``task.shards.kind``."""
