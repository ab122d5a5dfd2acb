"""The application: its commands in four groups, read from the modules beside this one without importing them.

Every public function of `use`, `train`, `data` and `measure` is a command. Its parameters are the command's arguments,
and its docstring is the command's help.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from cyclopts import App, ArgumentCollection, CycloptsError, Group, Parameter
from pydantic_core import ValidationError

from secateur import __version__
from secateur.cli.ending import UsageError

_STEPS = {"data": "data", "measure": "eval"}  # the command whose steps a module has
_QUIET = ("prune", "serve", "mcp", "info")  # every other command logs its progress


def docstrings(module: str) -> dict[str, str]:
    """Return the docstring of each public function by name, in order."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in functions if not node.name.startswith("_")}


def _shown_default(value: Any) -> str | None:
    if value is None or value is False or value in ("", ()):
        return None
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).strip() or repr(value)


def _check_integers(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 1.5 for an integer, which cyclopts would round."""
    for argument in arguments:
        for token in argument.tokens:
            if int in (argument.hint, *get_args(argument.hint)) and "." in token.value:
                raise CycloptsError(f'Invalid value "{token.value}" for {argument.name}. Must be an integer.')


def build() -> App:
    """Return the application."""
    app = App(
        "secateur",
        "Context pruning and reranking for RAG.\n\n`secateur COMMAND --help` shows a command's options and an example.",
        version=f"secateur {__version__}",
        config=_check_integers,
        help_format="plaintext",  # markdown, which the commands' helps need, takes longer to import
        default_parameter=Parameter(negative_iterable=(), show_default=_shown_default),
        group_commands=Group("Options", sort_key=9),
    )
    for number, module in enumerate(("use", "train", "data", "measure")):
        group = Group(module.capitalize(), sort_key=number)
        parent = _STEPS.get(module, "")
        helps = docstrings(module)
        if parent:
            own = helps.pop("evaluate", None)
            steps = App(parent, own or "Training data, step by step.", group_commands="Steps", group=group)
            steps.show, steps.sort_key = own is not None, 0
            app.command(steps)
        for order, (name, text) in enumerate(helps.items()):
            command = name.replace("_", "-")
            target = f"secateur.cli.{module}:{name}"
            settings: dict[str, Any] = {"help": text, "help_format": "markdown"}
            if name == "serve":  # it has a parser of its own
                settings |= {"help_flags": [], "version_flags": []}
            if parent:
                steps.command(target, name=command, sort_key=order, **settings)
                command = f"{parent} {command}"  # for the list of all commands alone
            app.command(target, name=command, group=group, sort_key=order + 1, **settings)
    return app


def parse(arguments: Sequence[str]) -> Callable[[], object]:
    """Return the command that the arguments name, ready to run, or raise a `UsageError`."""
    app = build()
    if arguments[:1] == ["eval"]:  # the one command that has steps and also works without
        app["eval"].default(import_module("secateur.cli.measure").evaluate)
    try:
        function, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        command = " ".join(["secateur", *(error.command_chain or ())])
        problem = str(error)
        if isinstance(cause := error.__cause__, ValidationError):  # pydantic's text has several lines and a link
            problem = problem.replace(str(cause), f"{cause.errors()[0]['msg']}.")
        raise UsageError(f"{problem} See `{command} --help`.") from None
    if function.__name__ == "help_print" and not {"--help", "-h"} & set(arguments):
        raise UsageError(f"COMMAND: is missing; see `{' '.join(['secateur', *arguments])} --help`")
    return partial(function, *bound.args, **bound.kwargs)


def run(arguments: Sequence[str]) -> None:
    """Run a command."""
    command = parse(arguments)
    logging.basicConfig(level=logging.WARNING if arguments[0] in _QUIET else logging.INFO)
    for name in ("bm25s", "faiss", "httpx", "httpx2", "sentence_transformers"):  # a line per request or loaded model
        logging.getLogger(name).setLevel(logging.WARNING)
    command()
