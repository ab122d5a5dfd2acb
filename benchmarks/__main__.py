"""The command: ``python -m benchmarks WHAT --data DIR [--update docs/benchmarks.md]``; some take ``--texts DIR``."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.corpus import CorpusBenchOptions, measure_corpus
from benchmarks.footprint import measure_footprint
from benchmarks.http import HttpOptions, measure_http
from benchmarks.load import LoadOptions, measure_load
from benchmarks.overhead import measure_overhead
from benchmarks.peers import PeerOptions, measure_peers
from benchmarks.quality import QualityOptions, measure_quality
from benchmarks.rendering import measure_rendering
from benchmarks.replicas import ReplicaOptions, measure_replicas
from benchmarks.retrieval import RetrievalOptions, measure_retrieval
from benchmarks.segmenters import measure_segmenters
from benchmarks.selection import SelectionOptions, measure_selection
from benchmarks.speed import measure_speed
from benchmarks.structure import measure_structure
from benchmarks.tables import BenchTable, write_bench
from benchmarks.texts import FORMATS
from secateur.models.errors import SecateurError

Measure = Callable[..., BenchTable]
PLAIN: dict[str, Measure] = {
    "overhead": measure_overhead,
    "speed": measure_speed,
    "footprint": measure_footprint,
    "segmenters": measure_segmenters,
}
"""Benchmarks without options of their own."""
OF_TEXTS: dict[str, Measure] = {"structure": measure_structure, "rendering": measure_rendering}
"""Benchmarks on texts of each format; see `benchmarks.texts`."""
WITH_OPTIONS: dict[str, tuple[Measure, type[Any]]] = {
    "peers": (measure_peers, PeerOptions),
    "http": (measure_http, HttpOptions),
    "load": (measure_load, LoadOptions),
    "ray": (measure_replicas, ReplicaOptions),
    "corpus": (measure_corpus, CorpusBenchOptions),
    "retrieval": (measure_retrieval, RetrievalOptions),
    "quality": (measure_quality, QualityOptions),
    "selection": (measure_selection, SelectionOptions),
}
"""Benchmarks with the type of their options."""


def _command(app: App, name: str, measure: Measure, kind: type[Any] | None) -> None:
    defaults = kind and kind()

    def run(data: Path, update: Path | None = None, block: str | None = None, options: Any = None) -> None:
        table = measure(data) if kind is None else measure(data, options)
        sys.stdout.write(write_bench(block or f"bench-{name}", table, update) + "\n")

    def plain(*, data: Path, update: Path | None = None, block: str | None = None) -> None:
        run(data, update, block)

    def with_options(
        *,
        data: Path,
        update: Path | None = None,
        block: str | None = None,
        options: Annotated[kind, Parameter(name="*")] = defaults,  # type: ignore[valid-type]
    ) -> None:
        run(data, update, block, options)

    command = plain if kind is None else with_options
    command.__doc__ = f"""{(inspect.getdoc(inspect.getmodule(measure)) or name).splitlines()[0]}

    Args:
        data: Labelled examples that queries and passages are drawn from.
        update: Document whose table is rewritten.
        block: Name of the table's block in the document; bench-{name} by default.
    """
    app.command(command, name=name)


def _texts_command(app: App, name: str, measure: Measure) -> None:
    def command(*, texts: Path, update: Path | None = None, block: str | None = None) -> None:
        sys.stdout.write(write_bench(block or f"bench-{name}", measure(texts), update) + "\n")

    command.__doc__ = f"""{(inspect.getdoc(inspect.getmodule(measure)) or name).splitlines()[0]}

    Args:
        texts: Folder with the sub-folders {", ".join(FORMATS)}.
        update: Document whose table is rewritten.
        block: Name of the table's block in the document; bench-{name} by default.
    """
    app.command(command, name=name)


def build() -> App:
    """Return the application: a command for each benchmark."""
    app = App(
        name="benchmarks",
        help="Measure speed, memory and peers.",
        default_parameter=Parameter(consume_multiple=True),
        result_action="return_value",
    )
    for name, measure in PLAIN.items():
        _command(app, name, measure, None)
    for name, measure in OF_TEXTS.items():
        _texts_command(app, name, measure)
    for name, (measure, kind) in WITH_OPTIONS.items():
        _command(app, name, measure, kind)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run a benchmark and print its table; return the exit code."""
    try:
        build()(arguments)
    except SecateurError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
