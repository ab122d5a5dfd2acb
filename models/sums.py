"""`secateur.sha256`: the SHA-256 checksums of a model directory's files, in the format of `sha256sum`.

They reveal damage and mix-ups: an incomplete download, a flipped bit, the tokenizer of another model. They are not a
signature: whoever can change a model can change its checksums.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from secateur.models.checkpoint import CALIBRATION, CONFIG, ONNX_FILES, TOKENIZER, WEIGHTS
from secateur.models.errors import ModelError, shown
from secateur.models.files import is_model_file, read_model_file, write_atomically

SUMS = "secateur.sha256"
SUMMED = (CONFIG, TOKENIZER, CALIBRATION, *ONNX_FILES.values(), WEIGHTS)
_MAX_BYTES = 2**18
_LINE = re.compile(r"(?P<sum>[0-9A-Fa-f]{64}) [ *](?P<name>[^\\]+)")


def _wrong(directory: Path, problem: str) -> ModelError:
    fix = f"fetch the model again, or, if you changed it yourself, run: secateur checksum {directory}"
    return ModelError(f"{directory}/{problem}; {fix}")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error


def read_sums(directory: Path) -> dict[str, str] | None:
    """Return the checksums of a model directory by file name; None if it has none."""
    path = directory / SUMS
    if not is_model_file(path):
        return None
    sums: dict[str, str] = {}
    for number, line in enumerate(read_model_file(path, _MAX_BYTES).decode("utf-8", "replace").splitlines(), 1):
        where = f"{SUMS}, line {number}"
        found = _LINE.fullmatch(line)
        if found is None:
            raise _wrong(directory, f"{where}: {shown(line)} is not a line of sha256sum")
        name = PurePosixPath(found["name"])
        if name.is_absolute() or ".." in name.parts:
            raise _wrong(directory, f"{where}: {shown(str(name))} is outside the directory")
        if sums.setdefault(str(name), found["sum"].lower()) != found["sum"].lower():
            raise _wrong(directory, f"{where}: {shown(str(name))} has two checksums")
    return sums


def check_sums(directory: Path, names: Iterable[str]) -> bool:
    """Compare files of a model directory with their checksums, and return whether it has checksums.

    Only the files with these names are read, so that loading reads only what it uses; they need not exist, but every
    file with a checksum must.

    Raises:
        ModelError: A file differs from its checksum, is missing, or has no checksum while others have one.
    """
    sums = read_sums(directory)
    if sums is None:
        return False
    for name in sums:
        if not is_model_file(directory / name):
            raise _wrong(directory, f"{name} is missing, though {SUMS} lists it")
    for name in filter(lambda name: is_model_file(directory / name), names):
        if name not in sums:
            raise _wrong(directory, f"{name} has no checksum in {SUMS}")
        if (found := _digest(directory / name)) != sums[name]:
            detail = f"SHA-256 {found}, {SUMS} has {sums[name]}"
            raise _wrong(directory, f"{name}: is damaged or of another model ({detail})")
    return True


def write_sums(directory: Path, changed: Iterable[str] = SUMMED) -> dict[str, str]:
    """Write the checksums of a model directory, and return them by file name.

    Files that were not ``changed`` on purpose keep the checksums that they have, so that damage to them stays visible;
    a file without a checksum gets one.
    """
    written = set(changed)
    kept = {} if written.issuperset(SUMMED) else read_sums(directory) or {}
    sums = {name: digest for name, digest in kept.items() if name not in written}
    new = [name for name in SUMMED if name not in sums and is_model_file(directory / name)]
    sums |= {name: _digest(directory / name) for name in new}
    write_atomically(directory / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
    return sums
