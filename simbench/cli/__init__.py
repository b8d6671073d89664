"""The command line: one file per command, whose ``command`` function Typer reads.

Heavy libraries are imported inside the functions, so that ``--help`` and ``report`` don't wait for
torch and Ray.
"""
