"""Opening Parquet files with a limit of their unpacked size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.text_files import DEFAULT_LIMITS, MIB, Limits, open_binary
from secateur.models.errors import DataError, MissingExtraError

_BATCH_BYTES = 1 << 30  # memory limit of a batch of rows


@dataclass(frozen=True, slots=True)
class OpenParquet:
    """A `pyarrow.parquet.ParquetFile`, and the number of rows of its batches."""

    file: Any
    rows: int

    def batches(self) -> Iterator[Any]:
        """Yield the rows as Arrow record batches."""
        return self.file.iter_batches(batch_size=self.rows)  # type: ignore[no-any-return]


@contextmanager
def open_parquet(
    path: Path, extra: str, rows: int = 256, limits: Limits = DEFAULT_LIMITS, *, regular: bool = False
) -> Iterator[OpenParquet]:
    """Open a Parquet file, for batches of at most ``rows``; see `text_files.open_binary` for ``regular``.

    Raises:
        DataError: The file is not Parquet, is damaged, or unpacks to more than the limit.
        MissingExtraError: pyarrow, which ``extra`` installs, is missing.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra) from error
    try:
        with open_binary(path, regular=regular) as raw:
            file = parquet.ParquetFile(raw)
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            size = sum(group.total_byte_size for group in groups)
            allowed = limits.allowed(os.fstat(raw.fileno()).st_size)
            if size > allowed:
                raise DataError(f"{path}: unpacks to {size / MIB:.0f} MiB, more than {allowed / MIB:g} MiB")
            # A value that is stored once may be repeated in every row of a batch; it is no larger than its column.
            columns = [group.column(number) for group in groups for number in range(group.num_columns)]
            largest = max((column.total_uncompressed_size for column in columns), default=0)
            yield OpenParquet(file, min(rows, max(1, _BATCH_BYTES // max(largest, 1))))
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{path}: cannot be read as Parquet ({error})") from error
