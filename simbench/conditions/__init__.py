"""What goes wrong, one file each; a new file here is a new ``kind`` under ``conditions:``."""
