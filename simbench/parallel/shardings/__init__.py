"""What devices keep a share of; a new file here is a new ``parallel.sharding.kind``."""
