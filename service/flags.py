"""Flags of `secateur serve`, made from the settings, and the settings' table in the documentation.

``python -m secateur.service.flags FILE`` writes the table into a Markdown file, between its markers.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from secateur.models.errors import InputError, shown
from secateur.service.passwords import has_password, without_password
from secateur.service.settings import ENV_ONLY, Settings

PREFIX = "SECATEUR_"
_BEGIN, _END = "<!-- settings:begin -->", "<!-- settings:end -->"
# Kubernetes puts such variables into every pod beside a Service that is named secateur.
_OF_KUBERNETES = re.compile(r"SECATEUR_(SERVICE_|PORT_)")


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def is_secret(name: str) -> bool:
    """Return whether a setting is a secret, of which no error may show a part."""
    return not _has_flag(Settings.model_fields[name])


def _has_flag(field: FieldInfo) -> bool:
    return field.json_schema_extra is not ENV_ONLY


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser a flag for every setting. One that is not given leaves no trace in the arguments."""
    parser.allow_abbrev = False  # --api-keys is no short form of --api-keys-file
    for name, field in Settings.model_fields.items():
        if not _has_flag(field):
            continue
        default = _default(field)
        text = f"{field.description}{f' Default: {default}.' if default else ''}".replace("%", "%%")
        kind: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction} if field.annotation is bool else {"metavar": "VALUE"}
        )
        parser.add_argument(flag(name), dest=name, default=argparse.SUPPRESS, help=text, **kind)


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings by the flags, else the environment, else the defaults.

    Raises:
        InputError: a value is wrong; it names the flag or the variable.
    """
    given = {name: value for name, value in vars(arguments).items() if name in Settings.model_fields}
    for name, value in given.items():
        if isinstance(value, str) and has_password(value):
            hint = f"set {variable('redis_password') if name == 'cache' else variable(name)} in the environment instead"
            raise InputError(flag(name), "a flag with a password is seen by everyone who lists processes", hint)
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise _usage_error(given, first["loc"], first["type"], first["msg"], first["input"]) from None


def _usage_error(
    given: Mapping[str, Any], location: tuple[int | str, ...], kind: str, message: str, value: object
) -> InputError:
    name = str(location[0])
    where = flag(name) if name in given else variable(name)
    where += "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:])
    if is_secret(name):
        said = "what is given"  # a secret is not for the terminal
    elif isinstance(value, str) and value.isprintable() and len(value) < 100:
        said = without_password(value)
    else:
        said = shown(without_password(value) if isinstance(value, str) else value)
    hint = message.removeprefix("Value error, ").replace("Input should be", "it should be")
    wrong = "is out of range" if kind.endswith("than_equal") else "cannot be used"
    return InputError(where, f"{said} {wrong}", hint[:1].lower() + hint[1:])


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return the variables that look like settings and are none: a slip of the pen may leave a service open."""
    known = {variable(name) for name in Settings.model_fields}
    return sorted(
        name for name in environment if name.startswith(PREFIX) and name not in known and not _OF_KUBERNETES.match(name)
    )


def table() -> str:
    """Return all settings as a Markdown table."""
    rows = ["| variable | flag | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        flags = f"`{flag(name)}`" if _has_flag(field) else ""
        if field.annotation is bool:
            flags = f"`{flag(name)}`, `{flag('no_' + name)}`"
        default = f"`{_default(field)}`" if _default(field) else ""
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{variable(name)}` | {flags} | {default} | {description} |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """Return a Markdown text with the table between its markers made new.

    Raises:
        InputError: the markers are missing.
    """
    pattern = re.compile(f"(?<={re.escape(_BEGIN)}\n).*?(?={re.escape(_END)})", re.DOTALL)
    if not pattern.search(text):
        raise InputError("file", f"has no line {_BEGIN} before a line {_END}", "add them where the table is to stand")
    return pattern.sub(lambda _: table() + "\n", text)


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
