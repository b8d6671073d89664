"""How much a stale update counts, one function a file; a new file is a new ``kind`` of damping."""
