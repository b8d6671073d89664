"""Ways of computing a wrong gradient, one file each; a new file here is a new kind of ``faults``."""
