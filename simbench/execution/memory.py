"""How much memory this process took, at most."""

import resource
import sys


def peak_resident_bytes() -> int:
    """Return the most memory that this process has had resident since it began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB
