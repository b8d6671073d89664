"""``python -m simbench``."""

from simbench.cli.main import main

if __name__ == "__main__":
    main()
