"""The laws of jitter, one file each; a new file here is a new ``jitter.kind``."""
