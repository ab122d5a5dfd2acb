"""Command line of `secateur serve`: a flag for each setting that is not a secret."""

from __future__ import annotations

import re
from argparse import ArgumentParser, HelpFormatter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource

from secateur.models.errors import InputError, shown
from secateur.service.credentials import has_password, without_password
from secateur.service.settings import SECRET, Settings

PREFIX = "SECATEUR_"
# Kubernetes adds such variables to every pod beside a Service named secateur.
_KUBERNETES = re.compile(r"SECATEUR_(SERVICE_|PORT_)")


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def is_secret(name: str) -> bool:
    """Return whether a setting is a secret, which no error may show."""
    field = Settings.model_fields.get(name)
    return field is not None and field.json_schema_extra is SECRET


def default_of(name: str) -> str:
    """Return the default of a setting as a flag takes it; empty for none."""
    value = Settings.model_fields[name].get_default()
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None or value == () else str(value)


def _add_argument(parser: ArgumentParser, *names: str, **options: Any) -> Any:
    """Add the flag of a setting, with the help of this project."""
    name = names[0].removeprefix("--").replace("-", "_")
    if is_secret(name):
        return None
    default = f" Default: {default_of(name)}." if default_of(name) else ""
    options["help"] = f"{Settings.model_fields[name].description}{default}".replace("%", "%%")
    if "metavar" in options and not options["metavar"].startswith("{"):
        options["metavar"] = "VALUE"
    return parser.add_argument(*names, **options)


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Return the settings of the arguments after ``secateur serve``: from flags, else the environment, else defaults.

    ``--help`` prints the help and exits with 0, an unknown flag exits with 2.

    Raises:
        InputError: A value is invalid; the field is the flag or the variable.
    """
    given: dict[str, str] = {}
    for argument, following in pairwise([*arguments, ""]):
        name, _, value = argument.partition("=")
        given[name.removeprefix("--").replace("-", "_")] = value or following
    for name, value in given.items():
        if is_secret(name) or (name in Settings.model_fields and has_password(value)):
            instead = variable("redis_password" if name == "cache" else name)
            problem = "a secret in a flag is visible to everyone who can list processes"
            raise InputError(flag(name), problem, f"set {instead} in the environment instead")
    parser = ArgumentParser(
        "secateur serve",
        description="Serve pruning and reranking over HTTP. Each flag also has a variable, such as SECATEUR_PORT.",
        epilog="Example: secateur serve --port 9000",
        formatter_class=lambda prog: HelpFormatter(prog, max_help_position=32),
        allow_abbrev=False,  # --api-keys is no short form of --api-keys-file
    )
    source: CliSettingsSource[ArgumentParser] = CliSettingsSource(
        Settings,
        root_parser=parser,
        parse_args_method=ArgumentParser.parse_args,
        add_argument_method=_add_argument,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
    )
    try:
        return CliApp.run(Settings, cli_args=list(arguments), cli_settings_source=source)
    except ValidationError as error:
        raise usage_error(error, lambda name: flag(name) if name in given else variable(name)) from None


def usage_error(error: ValidationError, field_of: Callable[[str], str]) -> InputError:
    """Return the first error of invalid settings, without any secret. ``field_of`` returns the name of a setting."""
    first = error.errors()[0]
    name, *rest = first["loc"]
    value = first["input"]
    value = without_password(value) if isinstance(value, str) else value
    if is_secret(str(name)):
        value = "the value"
    elif not isinstance(value, str) or not value.isprintable() or len(value) >= 100:
        value = shown(value)
    field = field_of(str(name)) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    hint = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    problem = "is out of range" if first["type"].endswith("than_equal") else "is invalid"
    return InputError(field, f"{value} {problem}", hint[:1].lower() + hint[1:])


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return the variables that look like settings but are none: a typing error may leave a service open."""
    known = {variable(name) for name in Settings.model_fields}
    return sorted(
        name for name in environment if name.startswith(PREFIX) and name not in known and not _KUBERNETES.match(name)
    )
