"""Sentence segmenters: text in, sentence ends out.

`nupunkt` is the default. On the labelled sources with sentence boundaries its macro F1 is higher than that of NLTK's
Punkt, in about a third of the time; ``python -m benchmarks segmenters`` measures both.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from secateur.models.errors import InputError, MissingExtraError, unknown_name
from secateur.models.formats.sentence_ends import corrected_ends

Segmenter = Callable[[str], list[int]]
"""Returns the ascending end offsets (code points) of a text's sentences; the last one may be omitted."""

_INNER_STOP = re.compile(r"[.!?…](?=\s*+\S)")
_LONG_RUN = re.compile(r"\S{256}")


@cache
def nupunkt_segmenter() -> Segmenter:
    """Return the NUPunkt segmenter with the model in its package (English, with legal abbreviations)."""
    import nupunkt

    tokenizer = nupunkt.load_default_model()

    def split(text: str) -> list[int]:
        if not _INNER_STOP.search(text):
            return []  # there is no sentence end, and the tokenizer is the slowest step for a short text
        # The tokenizer reads from every stop to the next white space, which is quadratic in a text without any. Long
        # runs are passed in pieces, whose ends are not sentence ends.
        ends: list[int] = []
        start = 0
        for stop in [*(match.end() for match in _LONG_RUN.finditer(text)), len(text)]:
            found = (start + end for _, end in tokenizer.span_tokenize(text[start:stop]))
            ends += [end for end in found if end < stop or stop == len(text)]
            start = stop
        return ends

    return split


def _punkt_tab_dirs() -> list[Path]:
    """Return where llama-index-core ships NLTK's `punkt_tab` data."""
    spec = importlib.util.find_spec("llama_index")
    roots = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    return [root / "core" / "_static" / "nltk_cache" for root in roots]


@cache
def punkt_segmenter() -> Segmenter:
    """Return NLTK's Punkt segmenter, with the data from NLTK's own directories or from an installed package."""
    try:
        import nltk
        from nltk.tokenize.punkt import PunktTokenizer
    except ImportError as error:
        raise MissingExtraError("nltk", "nltk") from error
    for folder in _punkt_tab_dirs():
        if folder.is_dir() and str(folder) not in nltk.data.path:
            nltk.data.path.append(str(folder))
    try:
        tokenizer = PunktTokenizer("english")
    except LookupError as error:
        fix = "run `python -m nltk.downloader punkt_tab`, install llama-index-core (which ships it), or use 'nupunkt'"
        raise InputError("segmenter", "NLTK's punkt_tab data was not found", fix) from error
    return lambda text: [int(end) for _, end in tokenizer.span_tokenize(text)]


SEGMENTERS: dict[str, Callable[[], Segmenter]] = {"nupunkt": nupunkt_segmenter, "punkt": punkt_segmenter}
"""The registry of segmenters, each with the function that loads it. A new segmenter is one entry and its function."""


def _ends(name: str, text: str) -> list[int]:
    return corrected_ends(text, SEGMENTERS[name]()(text))


def get_segmenter(name: str = "nupunkt") -> Segmenter:
    """Return a segmenter by name, whose ends `corrected_ends` corrects. It can be pickled.

    Raises:
        InputError: The name is unknown.
    """
    if name not in SEGMENTERS:
        raise unknown_name("segmenter", "segmenter", name, SEGMENTERS)
    SEGMENTERS[name]()  # errors come here
    return partial(_ends, name)
