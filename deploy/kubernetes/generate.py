"""Make the chart's schema of `settings` from the service's settings, and the docs' table of values from values.yaml.

``python deploy/kubernetes/generate.py`` writes both; tests/deploy tells when they are stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from secateur.service.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = Path(__file__).parent / "secateur"
SCHEMA, VALUES, DOCUMENT = CHART / "values.schema.json", CHART / "values.yaml", ROOT / "docs/deployment.md"
# The chart sets these itself, and secrets do not belong in a ConfigMap.
OWN = {"host", "port", "api_keys", "api_keys_file", "redis_password", "redis_password_file"}

_TABLE = re.compile(r"(?<=<!-- values:begin -->\n).*?(?=<!-- values:end -->)", re.DOTALL)
_LINE = re.compile(r"(?P<indent> *)(?:# (?P<comment>.*)|(?P<key>\w+):.*)")


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of the settings that the chart hands on."""
    whole = Settings.model_json_schema()
    models = {name: _properties(schema) for name, schema in whole["$defs"].items()}
    schema = _properties(whole)
    schema["properties"]["models"]["items"] = models["ModelSettings"]
    schema["properties"] = {name: kind for name, kind in schema["properties"].items() if name not in OWN}
    return schema | {"required": ["drain_s"]}  # the pods' grace period is made from it


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object's schema with what values are checked by."""
    kinds = {name: _kind(kind) for name, kind in schema["properties"].items()}
    return {"type": "object", "additionalProperties": False, "properties": kinds}


def _kind(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name not in ("default", "title", "description", "format")}
    if "anyOf" in kept:  # of something and null
        kind, _ = kept.pop("anyOf")
        kept |= kind | {"type": [kind["type"], "null"]}
        kept.pop("format", None)
    return kept


def with_settings(text: str) -> str:
    """Return the chart's schema with that of the settings made new, a value of a short line on one."""
    schema = json.loads(text)
    schema["properties"]["settings"] = settings_schema()
    return _shown(schema) + "\n"


def _shown(value: Any, indent: str = "") -> str:
    line = json.dumps(value)
    if not isinstance(value, dict) or (len(indent) + len(line) < 110 and "properties" not in value):
        return line
    deeper = indent + "  "
    lines = (f"{deeper}{json.dumps(key)}: {_shown(part, deeper)}" for key, part in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def commented() -> Iterator[tuple[str, Any, str]]:
    """Yield each value that a comment stands above, with its path and its comment."""
    values: Any = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    path: list[str] = []
    comment = ""
    for line in VALUES.read_text(encoding="utf-8").splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            comment = ""
        elif found["comment"]:
            comment += f"{found['comment']} "
        else:
            path[len(found["indent"]) // 2 :] = [found["key"]]
            if comment:
                value = values
                for key in path:
                    value = value[key]
                yield ".".join(path), value, comment.strip()
            comment = ""


def table() -> str:
    """Return all values as a Markdown table."""
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, value, comment in commented():
        default = "" if value in ("", [], {}) else f"`{value if isinstance(value, str) else json.dumps(value)}`"
        rows.append(f"| `{path}` | {default} | {comment} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """Return a Markdown text with the table between its markers made new."""
    return _TABLE.sub(lambda _: table(), text)


if __name__ == "__main__":
    SCHEMA.write_text(with_settings(SCHEMA.read_text(encoding="utf-8")), encoding="utf-8")
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
