"""The one hierarchy of errors: each says what was wrong, the value, and the hint."""

from __future__ import annotations

from itertools import islice
from reprlib import Repr
from typing import Any


class SecateurError(Exception):
    """Base of every error that Secateur raises on purpose. Can be pickled, so that worker processes can raise it."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception would call the constructor with the message alone, and many take other arguments.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[SecateurError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SecateurError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class InputError(SecateurError):
    """A value given by the caller cannot be used.

    Args:
        field: the argument or request field, e.g. ``passages[3].text``.
        problem: what is wrong with it, with the value.
        hint: what to give instead.
    """

    def __init__(self, field: str, problem: str, hint: str) -> None:
        super().__init__(f"{field}: {problem}; {hint}")
        self.field = field
        self.problem = problem
        self.hint = hint


class ModelError(SecateurError):
    """A model directory is missing, incomplete, or its parts do not belong together."""


class BackendUnusableError(SecateurError):
    """A runtime has failed and cannot be opened again in this process; only a new process can run the model."""


class RuntimeOutputError(SecateurError):
    """A runtime returned something that cannot be a score: NaN, a value outside [0, 1], or another shape."""


class ExportError(SecateurError):
    """An exported model is not faithful to the model it was made from, so it was not written."""


class DataError(SecateurError):
    """A labelled dataset or a configuration file cannot be used."""


class MissingExtraError(SecateurError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'secateur[{extra}]'")
        self.package = package
        self.extra = extra


class _Brief(Repr):
    """``repr`` of the first parts of a value only, however large it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxlong = self.maxother = 80

    def repr_dict(self, x: dict[object, object], level: int) -> str:
        """Return some of the items, unlike the standard library without sorting all of them."""
        if level <= 0:
            return "{...}"
        items = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return "{" + ", ".join([*items, *(["..."] if len(x) > self.maxdict else [])]) + "}"

    def repr_str(self, x: str, level: int) -> str:
        """Return its begin."""
        return repr(x if len(x) <= self.maxstring else x[: self.maxstring] + "...")


_BRIEF = _Brief()


def shown(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, shortened to ``limit`` characters, for an error message."""
    text = repr(value[:limit]) if isinstance(value, str) else _BRIEF.repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
