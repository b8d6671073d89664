"""Ray actors as compute nodes, and jobs on a Ray cluster: the only code that imports ray."""
