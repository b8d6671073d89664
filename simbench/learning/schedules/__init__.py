"""The learning-rate schedules, one file each; a new file here is a new kind in a ``schedule``."""
