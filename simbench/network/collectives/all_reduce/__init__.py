"""The algorithms of all-reduce, one file each; a new file here is a new ``all_reduce.kind``."""
