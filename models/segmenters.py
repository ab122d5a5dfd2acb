"""Sentence segmenters: text in, sentence ends out.

`nupunkt` is the default. On the labelled sources with sentence boundaries its macro F1 is higher than that of NLTK's
Punkt, in about a third of the time; ``python -m benchmarks segmenters`` measures both. `sat` reads text without
punctuation, such as transcripts of speech, in 85 languages, and takes far longer.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from secateur.models.errors import InputError, MissingExtraError, shown, unknown_name
from secateur.models.formats.sentence_ends import corrected_ends

Segmenter = Callable[[str], list[int]]
"""Returns the ascending end offsets (code points) of a text's sentences; the last one may be omitted."""

_INNER_STOP = re.compile(r"[.!?…](?=\s++\S|[^\s\w])")  # without, there is one sentence
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


_SAT_FILES = ("model_optimized.onnx", "config.json", "tokenizer.json")
_SAT_BLOCK = 512  # tokens of one forward pass
_SAT_STRIDE = 256  # tokens


@cache
def sat_segmenter(directory: str) -> Segmenter:
    """Return a Segment any Text model (arXiv:2406.16678) from a local directory, run by wtpsplit-lite on the CPU.

    Args:
        directory: Directory with ``model_optimized.onnx``, ``config.json`` and ``tokenizer.json``. As in wtpsplit, its
            name decides the threshold: 0.25 with ``sm`` in it, otherwise 0.025.

    Raises:
        InputError: The directory lacks a file.
        MissingExtraError: wtpsplit-lite is not installed.
    """
    folder = Path(directory)
    missing = [name for name in _SAT_FILES if not (folder / name).is_file()]
    if missing:
        problem = f"the directory {shown(directory, 200)} has no {missing[0]}"
        raise InputError("segmenter", problem, f"use 'sat:DIRECTORY', one with {', '.join(_SAT_FILES)}")
    try:
        from wtpsplit_lite import SaT
    except ImportError as error:
        raise MissingExtraError("wtpsplit-lite", "sat") from error
    threshold = 0.25 if "sm" in folder.name else 0.025
    model = SaT(folder, tokenizer_name_or_path=folder, ort_providers=["CPUExecutionProvider"])

    def split(text: str) -> list[int]:
        if not any(map(str.isalnum, text)):
            return []  # the tokenizer may find nothing there, which wtpsplit-lite does not expect
        chances = model.predict_proba(text, stride=_SAT_STRIDE, block_size=_SAT_BLOCK)
        return [int(end) + 1 for end in (chances > threshold).nonzero()[0]]

    return split


SEGMENTERS: dict[str, Callable[..., Segmenter]] = {
    "nupunkt": nupunkt_segmenter,
    "punkt": punkt_segmenter,
    "sat": sat_segmenter,
}
"""The registry of segmenters, each with the function that loads it. A new segmenter is one entry and its function.

A segmenter with a model of its own is named with the directory of that, which its function takes: ``sat:DIRECTORY``.
"""
_WITH_DIRECTORY = ("sat",)


def check_segmenter(name: str) -> str:
    """Return the name of a segmenter, after checking that it is in the registry and names a directory if it needs one.

    Raises:
        InputError: It is not, or does not.
    """
    kind, colon, directory = name.partition(":")
    if kind not in SEGMENTERS or (colon and kind not in _WITH_DIRECTORY):
        known = [f"{one}:DIRECTORY" if one in _WITH_DIRECTORY else one for one in SEGMENTERS]
        raise unknown_name("segmenter", "segmenter", name, known)
    if kind in _WITH_DIRECTORY and not directory:
        raise InputError("segmenter", f"{shown(name)} names no directory", f"use '{kind}:DIRECTORY'")
    return name


def _loaded(name: str) -> Segmenter:
    kind, _, directory = name.partition(":")
    return SEGMENTERS[kind](directory) if directory else SEGMENTERS[kind]()


def _ends(name: str, text: str) -> list[int]:
    return corrected_ends(text, _loaded(name)(text))


def located(name: str, base: Path | None = None) -> str:
    """Return the name of a segmenter with its directory, if it has one, as an absolute path.

    Args:
        name: Name in `SEGMENTERS`; for `sat` with a directory: ``sat:DIRECTORY``.
        base: Directory from which that one is looked for, such as that of a model; by default the working directory.

    Raises:
        InputError: The name is unknown.
    """
    kind, _, directory = check_segmenter(name).partition(":")
    return f"{kind}:{((base or Path()) / Path(directory).expanduser()).absolute()}" if directory else name


def get_segmenter(name: str = "nupunkt", base: Path | None = None) -> Segmenter:
    """Return a segmenter by name, whose ends `corrected_ends` corrects. It can be pickled.

    Args:
        name: Name of the segmenter; see `located`.
        base: Directory from which its own one is looked for.

    Raises:
        InputError: The name is unknown, or the segmenter's directory is not complete.
        MissingExtraError: Its package is not installed.
    """
    name = located(name, base)
    _loaded(name)  # errors come here
    return partial(_ends, name)
