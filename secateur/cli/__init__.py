"""The command line. Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.

Importing it costs next to nothing: `main` imports the application, and the application the command that is run.
"""

from secateur.cli.ending import main

__all__ = ["main"]
