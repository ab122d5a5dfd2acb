"""Run the command line."""

import sys

from secateur.cli import main

if __name__ == "__main__":  # worker processes import it too
    sys.exit(main())
