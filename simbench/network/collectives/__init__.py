"""Collectives: a folder for each operation, a file for each of its algorithms."""
