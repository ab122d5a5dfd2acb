"""Writes the table of the service's settings into a Markdown file, between its markers.

``python docs/settings_table.py docs/operations.md``
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from secateur.service.flags import default_of, flag, is_secret, variable
from secateur.service.settings import Settings

_TABLE = re.compile(r"(?<=<!-- settings:begin -->\n).*?(?=<!-- settings:end -->)", re.DOTALL)


def table() -> str:
    """Return all settings as a Markdown table."""
    rows = ["| variable | flag | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        flags = "" if is_secret(name) else f"`{flag(name)}`"
        if field.annotation is bool:
            flags += f", `{flag('no_' + name)}`"
        default = f"`{default_of(name)}`" if default_of(name) else ""
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{variable(name)}` | {flags} | {default} | {description} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """Return a Markdown text with a new table between its markers."""
    return _TABLE.sub(lambda _: table(), text)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
