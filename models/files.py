"""Writing files atomically, and reading files only if they are regular and of a bounded size."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secateur.models.errors import DataError, ModelError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces the file when the block ends without an error.

    At any time the file has either its old content or all of its new content. Missing directories are created. A file
    that cannot be written raises a DataError.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A unique name for each writer: two runs may share a cache.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        os.close(handle)
        partial = Path(name)
        yield partial
        partial.chmod(0o644)  # temporary files are private, results are not
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file by `atomic_path`. Lone surrogates, which UTF-8 cannot encode, become question marks."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def is_model_file(path: Path) -> bool:
    """Whether a file of a model directory exists; raise a ModelError for a broken link, or what is no regular file.

    It is not opened: reading a FIFO or a device might never end. Symbolic links are followed, because a snapshot in a
    Hugging Face cache consists of them.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            problem = f"is a link to {path.readlink()}, which does not exist"
            raise ModelError(f"{path}: {problem}; fetch the model again") from None
        return False
    except (OSError, ValueError) as error:  # a loop of links, missing permissions, a null byte
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
        raise ModelError(f"{path}: is {kind}; put the model's regular file in its place")
    return True


def read_model_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file of a model directory, or raise a ModelError."""
    if not is_model_file(path):
        raise ModelError(f"{path.parent}: {path.name} is missing; is this a Secateur model directory?")
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if len(content) > max_bytes:
        raise ModelError(f"{path}: is larger than {max_bytes} bytes, more than such a file can have; replace it")
    return content
