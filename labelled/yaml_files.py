"""Reading a YAML file into an instance of a class, with limits on its size and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from secateur.labelled.text_files import read_text
from secateur.models.errors import DataError, MissingExtraError, shown

_T = TypeVar("_T")

_MAX_NODES = 10_000  # values of a document, with aliases replaced by their values


class TooMuchError(DataError):
    """A YAML document is nested too deep, or has too many values once its aliases are replaced."""


def _check_size(root: Any) -> None:
    """Refuse a document with more than 10,000 values once its aliases are replaced, or with a recursive alias."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        key = id(node)
        if sizes.get(key) == 0:
            raise TooMuchError("an alias refers to a value that contains it")
        if key not in sizes:
            sizes[key] = 0
            children = node.value if isinstance(node.value, list) else []
            parts = (part for child in children for part in (child if isinstance(child, tuple) else (child,)))
            sizes[key] = 1 + sum(map(size, parts))
            if sizes[key] > _MAX_NODES:
                raise TooMuchError(f"it has more than {_MAX_NODES} values once its aliases are replaced")
        return sizes[key]

    size(root)


def load_yaml(text: str, extra: str, *, plain: bool = False) -> Any:
    """Parse one YAML document; if ``plain``, numbers and dates are left as strings.

    Raises:
        ValueError: The text is not YAML.
        TooMuchError: The document is nested too deep or has too many values.
        MissingExtraError: PyYAML, which ``extra`` installs, is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", extra) from error
    kind = yaml.BaseLoader if plain else yaml.SafeLoader
    try:
        root = yaml.compose(text, kind)
        if root is None:
            return None
        _check_size(root)
        return kind("").construct_document(root)
    except RecursionError:
        raise TooMuchError("nested too deep") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def read_yaml(path: Path, kind: type[_T]) -> _T:
    """Read a YAML file as an instance of a class, or raise a DataError that names the wrong key."""
    try:
        content = load_yaml(read_text(path), "train")
    except (ValueError, TooMuchError) as error:
        raise DataError(f"{path}: not valid YAML ({error})") from error
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {key}: {first['msg']} (found {shown(first['input'])})") from error
