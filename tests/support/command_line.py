"""The command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from live_server import PATIENCE

QUERY = "When was the Eiffel Tower finished?"
TEXTS = {
    "bread.txt": "Bread needs flour and water. It is baked for an hour. The oven must be hot.",
    "tower.txt": "It stands in Paris. It was finished in March 1889.  Millions visit it every year.",
    "café.txt": "The Louvre is a museum. It opened in 1793.",
}


def spawn(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own, away from the checkout."""
    command = [sys.executable, "-m", "secateur", *arguments]
    return subprocess.run(command, cwd=cwd, timeout=PATIENCE, **{"capture_output": True, **options})
