"""Looks pinned versions up among known vulnerabilities: `python deploy/release/audit.py [constraints.txt]`.

It asks the package index, so it needs the network. It reports and fails nothing: what is found today is no fault of
the change that meets it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def look_up(requirements: Path) -> list[dict[str, Any]] | str:
    """Return what is known of each version, or why nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", f"--output={report}"]
        command = [sys.executable, "-m", "pip_audit", f"--requirement={requirements}", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if not report.is_file():
            return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        return list(json.loads(report.read_text(encoding="utf-8"))["dependencies"])


def told(found: list[dict[str, Any]] | str) -> list[str]:
    """Return the lines of the report."""
    if isinstance(found, str):
        return [f"audit: NOT DONE, it needs the network ({found})"]
    skipped = [item["name"] for item in found if "skip_reason" in item]
    bad = [item for item in found if item.get("vulns")]
    if len(skipped) == len(found):
        return ["audit: NOT DONE, the package index that can be reached knows none of these versions"]
    lines = [
        f"{item['name']} {item['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for item in bad
        for vulnerability in item["vulns"]
    ]
    lines.append(f"audit: of {len(found) - len(skipped)} versions, {len(bad)} have known vulnerabilities")
    return [*lines, f"not looked up: {', '.join(skipped)}"] if skipped else lines


def main() -> None:
    """Print the report."""
    requirements = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "constraints.txt"
    sys.stdout.write("".join(f"{line}\n" for line in told(look_up(requirements))))


if __name__ == "__main__":
    main()
