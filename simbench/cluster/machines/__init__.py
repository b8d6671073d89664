"""How long a step takes, one way each; a new file here is a new ``cluster.machine.kind``."""
