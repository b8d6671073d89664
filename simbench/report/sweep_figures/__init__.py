"""One file per figure of a sweep; a new file is found, and drawn where it suits the axes."""
