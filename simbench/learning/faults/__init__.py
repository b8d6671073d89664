"""Ways of computing a wrong gradient, one file each; a new file is a new kind of ``faults``."""
