"""Reading a YAML file into an object of a class."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from secateur.models.errors import DataError, MissingExtraError, shown

_T = TypeVar("_T")


def read_yaml(path: Path, kind: type[_T]) -> _T:
    """Read a YAML file as an object of a class.

    Raises:
        DataError: the file is missing or wrong; the message names the key.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", "train") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML ({error})") from error
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {key}: {first['msg']} (found {shown(first['input'])})") from error
