"""``simbench cache``: see and tidy what is known from run to run."""
