"""Sentence segmenters by name, and what is said when one is not at hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur.models import segmenters
from secateur.models.errors import InputError, MissingExtraError
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter, punkt_segmenter
from secateur.models.types import Passage


@pytest.fixture(autouse=True)
def fresh_punkt() -> Iterator[None]:
    """Segmenters are made once a process; here each test makes its own."""
    punkt_segmenter.cache_clear()
    yield
    punkt_segmenter.cache_clear()


def punkt_data_is_there() -> bool:
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        return any(folder.is_dir() for folder in segmenters._punkt_tab_dirs())
    return True


def test_an_unknown_segmenter_is_named() -> None:
    with pytest.raises(InputError, match=r"segmenter: unknown segmenter 'spacy'; use one of nupunkt, punkt"):
        get_segmenter("spacy")


def test_nupunkt_gives_ends_of_sentences() -> None:
    text = "It rained. Mr. Fox stayed in."
    assert get_segmenter("nupunkt")(text) == [len("It rained."), len(text)]


def test_a_run_without_a_space_is_no_sentence_end() -> None:
    text = f"See https://example.org/{'a' * 1000} for more. It ends."
    assert [text[unit.start : unit.end] for unit in segment(Passage(text))] == [text[: text.index("It")], "It ends."]


def test_punkt_splits_where_its_data_is_installed() -> None:
    if not punkt_data_is_there():
        pytest.skip("no punkt_tab data; llama-index-core ships it")
    text = "Dr. Fox stayed in. It rained."
    units = segment(Passage(text), get_segmenter("punkt"))
    assert [text[unit.start : unit.end] for unit in units] == ["Dr. Fox stayed in. ", "It rained."]


def test_punkt_knows_the_rule_for_texts_without_spaces() -> None:
    if not punkt_data_is_there():
        pytest.skip("no punkt_tab data; llama-index-core ships it")
    assert len(segment(Passage("雨が降った。風も吹いた。"), get_segmenter("punkt"))) == 2


def test_punkt_without_its_data_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(segmenters, "_punkt_tab_dirs", list)
    with pytest.raises(InputError, match=r"segmenter: .*punkt_tab.*nltk\.downloader"):
        get_segmenter("punkt")


def test_punkt_without_nltk_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'secateur\[nltk\]'"):
        get_segmenter("punkt")
