"""The transports, one file each; a new file here is a new ``network.transport.kind``."""
