"""Writes the tables of the docs that derive from the code, and README's from those of the docs: `make tables`.

`--check` fails on a stale one.

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

from secateur.labelled.markdown_blocks import marked_blocks
from secateur.models.options import option_markdown, option_table
from secateur.models.segmentation import FORMATS
from secateur.service import schemas
from secateur.service.flags import default_of, flag, is_secret, variable
from secateur.service.problems import PROBLEMS
from secateur.service.settings import Settings

ROOT = Path(__file__).parents[1]
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
    if "maxItems" in schema:
        items = schema["items"]
        return f"at most {schema['maxItems']} of {items['minLength']} to {items['maxLength']:,} characters"
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


def _settings() -> str:
    """Return all settings as a Markdown table."""
    rows: list[tuple[str, ...]] = [("variable", "flag", "default", "meaning")]
    for name, field in Settings.model_fields.items():
        flags = "" if is_secret(name) else f"`{flag(name)}`"
        if field.annotation is bool:
            flags += f", `{flag('no_' + name)}`"
        default = f"`{default_of(name)}`" if default_of(name) else ""
        description = (field.description or "").replace("|", "\\|")
        rows.append((f"`{variable(name)}`", flags, default, description))
    return _table(*rows)


def _measured(page: str, name: str) -> list[list[str]]:
    """Return the rows of a measured table of the docs, its head first."""
    block = marked_blocks((ROOT / page).read_text(encoding="utf-8"))[name]
    lines = [line for line in block.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _summary() -> str:
    """Return README's table of quality: some columns and systems of that in the docs, without the intervals."""
    head, *rows = _measured("docs/evaluation.md", "systems")
    columns = [head.index(name) for name in ("system", "what it is", "weights", "area", "MRR")]
    chosen = [row for row in rows if row[0] in ("secateur-int8", "rank-head", "embedding", "bm25", "lead")]
    table = _table(*(tuple(row[i].partition(" [")[0] for i in columns) for row in (head, *chosen)))
    quality = _measured("docs/evaluation.md", "quality")
    area = quality[0].index("area")
    unseen = [float(row[area]) for row in quality[1:] if row[0].endswith("°")]
    mean = sum(unseen) / len(unseen)
    return f"{table}\n\nArea of `secateur-int8` on the {len(unseen)} sources that are unseen in training: {mean:.3f}."


def _speed() -> str:
    return _table(*map(tuple, _measured("docs/benchmarks.md", "bench-speed")))


def _formats() -> str:
    rows = ((f"`{name}`", entry.description) for name, entry in FORMATS.items())
    return _table(("format", "what it is"), *rows)


BLOCKS: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "summary"): _summary,
    ("README.md", "speed"): _speed,
    ("docs/rest.md", "problems"): _problems,
    ("docs/python.md", "options"): option_markdown,
    ("docs/structure.md", "formats"): _formats,
    ("docs/operations.md", "settings"): _settings,
} | {("docs/rest.md", f"fields-{name}"): lambda name=name: _fields(name) for name in (*REQUESTS, *RESPONSES)}


def rewritten(page: str) -> str:
    """Return a page of the docs with its blocks made anew."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for (file, name), make in BLOCKS.items():
        if file == page:
            block = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
            text, count = block.subn(lambda found, make=make: f"{found[1]}{make().strip()}\n{found[2]}", text)
            if count != 1:
                raise SystemExit(f"{page}: has {count} blocks {name}, not one")
    return text


def main() -> None:
    """Write the blocks, or with `--check` say which pages are stale."""
    stale = []
    for page in sorted({file for file, _ in BLOCKS}):
        text = rewritten(page)
        if text != (ROOT / page).read_text(encoding="utf-8"):
            stale.append(page)
            if "--check" not in sys.argv:
                (ROOT / page).write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        raise SystemExit(f"stale, run make tables: {', '.join(stale)}")


if __name__ == "__main__":
    main()
