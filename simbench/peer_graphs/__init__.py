"""Who talks to whom in a gossip, one graph a file; a new file here is a new ``graph.kind``."""
