"""What to do when a node fails, one policy a file."""
