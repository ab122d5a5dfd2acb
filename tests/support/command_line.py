"""The command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from live_server import PATIENCE


def spawn(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own, away from the checkout."""
    command = [sys.executable, "-m", "secateur", *arguments]
    return subprocess.run(command, cwd=cwd, timeout=PATIENCE, **{"capture_output": True, **options})
