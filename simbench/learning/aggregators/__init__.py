"""What a server makes of many vectors, one file each; a new file here is a new ``aggregator``."""
