"""The hierarchy of errors. Each message says what was wrong, shows the value, and says how to fix it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr
from typing import Any


class SecateurError(Exception):
    """Base of all errors that Secateur itself raises. It can be pickled, so worker processes can raise it."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ passes only the message to the constructor; many constructors take other arguments.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[SecateurError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SecateurError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class InputError(SecateurError):
    """A value from the caller is not valid.

    Args:
        field: Argument or request field, e.g. ``passages[3].text``.
        problem: What is wrong, with the value.
        hint: What to do instead.
    """

    def __init__(self, field: str, problem: str, hint: str) -> None:
        super().__init__(f"{field}: {problem}; {hint}")
        self.field = field
        self.problem = problem
        self.hint = hint


class ModelError(SecateurError):
    """A model directory is missing or incomplete, or its files do not fit together."""


class BackendUnusableError(SecateurError):
    """A backend has failed and cannot be opened again in this process. A new process can run the model."""


class RuntimeOutputError(SecateurError):
    """A backend returned an invalid score: NaN, a value outside [0, 1], or an array of the wrong shape."""


class ExportError(SecateurError):
    """An exported model differs too much from its original, so it was not written."""


class DataError(SecateurError):
    """A data file or a configuration file cannot be read, written or used."""


class MissingExtraError(SecateurError):
    """An optional dependency is not installed: a package, which an extra of `secateur` brings."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'secateur[{extra}]'")


_BRIEF = Repr()
_BRIEF.maxlevel = 4
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 80


def shown(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, shortened to ``limit`` characters, for an error message."""
    text = repr(value[:limit]) if isinstance(value, str) else _BRIEF.repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def unknown_name(field: str, kind: str, value: object, known: Iterable[str]) -> InputError:
    """Return the error for a value of a field that names no ``kind``, e.g. no `backend`, of a registry.

    If the registry is long, the hint has the closest names.
    """
    names = list(known)
    close = get_close_matches(value, names) if isinstance(value, str) and len(names) > 6 else []
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    hint += f"use {'one of ' * (len(names) > 1)}{', '.join(names)}"
    return InputError(field, f"unknown {kind} {shown(value)}", hint)
