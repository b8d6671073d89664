"""The shapes of networks, one file each; a new file here is a new ``network.kind``."""
