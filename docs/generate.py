"""Writes the tables of the docs that derive from the code: `python docs/generate.py`; `--check` fails on a stale one.

The tables are the marked blocks `<!-- NAME:begin -->` ... `<!-- NAME:end -->` of the pages below.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from secateur.models.options import option_markdown, option_table
from secateur.service import schemas
from secateur.service.flags import settings_markdown
from secateur.service.problems import PROBLEMS

DOCS = Path(__file__).parent
REQUESTS = ("PruneBody", "PassageBody")
RESPONSES = ("PruneResponse", "ResultOut", "UnitOut", "UsageOut", "TimingsOut")


def _table(*rows: tuple[str, ...]) -> str:
    head, *lines = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *lines))


def _type(schema: dict[str, Any], *, null: bool) -> str:
    if "$ref" in schema:
        return "object"
    if "prefixItems" in schema:
        return "pair of " + _type(schema["prefixItems"][0], null=null) + "s"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        names = dict.fromkeys(_type(choice, null=null) for choice in choices)
        return " or ".join(name for name in names if null or name != "null")
    if schema["type"] == "array":
        items = _type(schema["items"], null=null)
        return "list of " + " or ".join(re.sub(r"^(\w+)", r"\1s", name) for name in items.split(" or "))
    name: str = schema["type"]
    return name


def _range(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("minItems"))
    high = schema.get("maximum")
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"] if value is not None)
    if "pattern" in schema:
        return "not blank"
    if "maxLength" in schema:
        return f"at most {schema['maxLength']:,} characters"
    if low is None:
        return ""
    return f"at least {low}" if high is None else f"{low} to {high}"


def _fields(name: str) -> str:
    model: type[BaseModel] = getattr(schemas, name)
    content = model.model_json_schema()
    required = set(content.get("required", ()))
    request = name in REQUESTS
    head = ("field", "type", *(("default", "range") if request else ()), "description")
    rows = [head]
    for field, schema in content["properties"].items():
        description = re.sub(r" Default: .*$", "", schema.get("description", ""))
        stated = re.search(r" Default: (.*)\.$", schema.get("description", ""))
        default = "required" if field in required else stated[1] if stated else ""
        if stated and field in option_table():
            default = f"`{default}`"
        middle = (default, _range(schema)) if request else ()
        rows.append((f"`{field}`", _type(schema, null=not request), *middle, description))
    return _table(*rows)


def _problems() -> str:
    rows = [(str(status), content["description"]) for status, content in sorted(PROBLEMS.items())]
    return _table(("status", "when"), *rows)


BLOCKS: dict[tuple[str, str], Callable[[], str]] = {
    ("rest.md", "problems"): _problems,
    ("python.md", "options"): option_markdown,
    ("operations.md", "settings"): settings_markdown,
} | {("rest.md", f"fields-{name}"): lambda name=name: _fields(name) for name in (*REQUESTS, *RESPONSES)}


def rewritten(page: str) -> str:
    """Return a page of the docs with its blocks made anew."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for (file, name), make in BLOCKS.items():
        if file == page:
            block = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
            text, count = block.subn(lambda found, make=make: f"{found[1]}{make()}\n{found[2]}", text)
            if count != 1:
                raise SystemExit(f"docs/{page}: has {count} blocks {name}, not one")
    return text


def main() -> None:
    """Write the blocks, or with `--check` say which pages are stale."""
    stale = []
    for page in sorted({file for file, _ in BLOCKS}):
        text = rewritten(page)
        if text != (DOCS / page).read_text(encoding="utf-8"):
            stale.append(f"docs/{page}")
            if "--check" not in sys.argv:
                (DOCS / page).write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        raise SystemExit(f"stale, run python docs/generate.py: {', '.join(stale)}")


if __name__ == "__main__":
    main()
