"""The one hierarchy of errors: each says what was wrong, the value, and the mend."""

from __future__ import annotations


class SecateurError(Exception):
    """Base of every error that Secateur raises on purpose."""


class InputError(SecateurError):
    """A value given by the caller cannot be used.

    Args:
        field: the argument or request field, e.g. ``passages[3].text``.
        problem: what is wrong with it, with the value.
        mend: what to give instead.
    """

    def __init__(self, field: str, problem: str, mend: str) -> None:
        super().__init__(f"{field}: {problem}; {mend}")
        self.field = field
        self.problem = problem
        self.mend = mend


class ModelError(SecateurError):
    """A model directory is missing, incomplete, or its parts do not belong together."""


class BackendUnusableError(SecateurError):
    """A runtime has failed and cannot be opened again in this process; only a new process can run the model."""


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


def shown(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, shortened to ``limit`` characters, for an error message."""
    text = repr(value[:limit]) if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
