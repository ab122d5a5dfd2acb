"""Segmentation tiles any text, and cuts where a reader would."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secateur.models.errors import InputError
from secateur.models.formats.text import MAX_UNIT_WORDS, _split
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter, nupunkt_segmenter
from secateur.models.types import Passage, Unit

PIECES = [
    *("It rained. ", "Why? ", "He said: ", "Dr. ", "a, b; c ", "...", "!?", '"', "(see 3.1)", "word ", " ", "\t"),
    *("\n", "\n\n", "\r\n", "\r\n\r\n", "\r", "\n \n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1c", "\u00a0"),
    *("- ", "\n- item", "\n* ", "\n1. ", "\n  (a) ", "• ", "A. "),
    *("「行く。」", "と言った", "漢字", "。", "！」", "안녕하세요. ", "שלום עולם. ", "مرحبا؟ "),
    *("😀", "👩\u200d👩\u200d👧", "👍🏽", "e\u0301", "\u0301", "\ufe0f", "\u200d", "\u200b", "\x00", "\x07", "\ufeff"),
]
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
ONE_LINE = [piece for piece in PIECES if not set(piece) & set("\n\r\x0b\x0c\x85\u2029")]
LONG_RUNS = ["a" * 2000, "\u0301" * 2000, "👩\u200d" * 800, "漢" * 300, "word " * 130, " " * 50, "。", ". "]
PARAGRAPH_BREAKS = ["\n\n", "\r\n\r\n", "\r\r", "\n \t\n", "\n\n\n  ", "\u2029", "\x0c"]
ITEM_BREAKS = ["\n- ", "\n* ", "\n  • ", "\r\n1. ", "\r\n\t(a) ", "\niv. "]


def texts_of(text: str) -> list[str]:
    return [text[unit.start : unit.end] for unit in segment(Passage(text, format="text"))]


def assert_tiles(text: str, units: list[Unit]) -> None:
    assert [unit.start for unit in units] + [len(text)] == [0] + [unit.end for unit in units]
    assert all(unit.start < unit.end for unit in units)


@given(TEXTS)
@example("")
@example(" \n\n ")
def test_units_tile_any_text(text: str) -> None:
    assert_tiles(text, segment(Passage(text, format="text")))


@given(st.lists(st.sampled_from(LONG_RUNS), max_size=6).map("".join))
@example("a" * 2000 + "\u0301" * 5000 + "a" * 3000)
def test_units_tile_texts_with_long_runs(text: str) -> None:
    assert_tiles(text, segment(Passage(text, format="text")))


@given(TEXTS)
def test_only_a_blank_text_has_a_blank_unit(text: str) -> None:
    assert not text.strip() or all(piece.strip() for piece in texts_of(text))


@given(st.lists(st.tuples(st.sampled_from(PARAGRAPH_BREAKS), st.sampled_from(["A title", "One. Two", "漢字"]))))
def test_a_paragraph_break_ends_a_unit(paragraphs: list[tuple[str, str]]) -> None:
    text, starts = "First words", set()
    for gap, paragraph in paragraphs:
        text += gap
        starts.add(len(text))
        text += paragraph
    assert starts <= {unit.start for unit in segment(Passage(text, format="text"))}


@given(st.lists(st.sampled_from(ITEM_BREAKS), min_size=1))
def test_a_list_item_is_its_own_unit(breaks: list[str]) -> None:
    text = "We need" + "".join(f"{gap}some thing, and more" for gap in breaks)
    units = segment(Passage(text, format="text"))
    assert [unit.kind for unit in units[1:]] == ["list_item"] * len(breaks)
    assert [text[unit.start : unit.end].strip() for unit in units[1:]] == [
        f"{gap.strip()} some thing, and more" for gap in breaks
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_single_line_break_ends_no_unit(newline: str) -> None:
    assert len(segment(Passage(f"This sentence is wrapped{newline}over two lines."))) == 1


def test_an_item_of_several_sentences_has_a_unit_for_each() -> None:
    assert texts_of("- It rains. It pours.\n- The old man snores.") == [
        "- It rains. ",
        "It pours.\n",
        "- The old man snores.",
    ]


def test_headings_are_told_from_sentences() -> None:
    text = "Results\n\nThe yield rose. It fell later.\n\nRelated work\n\nNobody knows."
    assert [unit.kind for unit in segment(Passage(text, format="text"))] == [
        "heading",
        "sentence",
        "sentence",
        "heading",
        "sentence",
    ]
    assert [unit.kind for unit in segment(Passage("A lone line"))] == ["sentence"]
    long_line = " ".join(["word"] * 13)
    assert [unit.kind for unit in segment(Passage(f"{long_line}\n\nNobody knows."))] == ["sentence", "sentence"]


def test_white_space_before_the_text_belongs_to_its_first_unit() -> None:
    assert texts_of("\n\n  Results\n\nThe yield rose.") == ["\n\n  Results\n\n", "The yield rose."]


def test_abbreviations_end_no_sentence() -> None:
    text = "Dr. Smith met Mr. Jones of Acme Inc. in Washington, e.g. on Mondays. They talked."
    assert texts_of(text) == [text[: text.index("They")], "They talked."]


def test_a_stray_closing_mark_joins_the_sentence_before_it() -> None:
    assert texts_of('It ended. ** "') == ['It ended. ** "']


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("雨が降った。風も吹いた。", ["雨が降った。", "風も吹いた。"]),
        ("「行く。」と彼は言った。終わり。", ["「行く。」と彼は言った。", "終わり。"]),
        ("「行く。」って言った。終わり。", ["「行く。」って言った。", "終わり。"]),
        ("「行く。」「来る。」終わり。", ["「行く。」", "「来る。」", "終わり。"]),
        ("「行く。」\n「来る。」\n終わり。", ["「行く。」\n", "「来る。」\n", "終わり。"]),
        ("本当？！はい！そう!すごい。", ["本当？！", "はい！", "そう!", "すごい。"]),
        ("他说。（完。） 下一句。", ["他说。", "（完。） ", "下一句。"]),
        ("何? v1.0が出た。He asked 何? Yes! 次。", ["何? ", "v1.0が出た。", "He asked 何? ", "Yes! ", "次。"]),
    ],
)
def test_chinese_and_japanese_need_no_spaces(text: str, pieces: list[str]) -> None:
    assert texts_of(text) == pieces


def words(count: int, first: int = 0) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def test_a_long_unit_is_cut_at_a_clause_rather_than_at_a_space() -> None:
    text = f"{words(70)}; {words(80, 70)}"
    assert texts_of(text) == [f"{words(70)}; ", words(80, 70)]


def test_a_long_unit_is_cut_at_a_line_break_rather_than_at_a_clause() -> None:
    text = f"{words(70)}; {words(10, 70)}\n{words(80, 80)}"
    assert texts_of(text)[0] == f"{words(70)}; {words(10, 70)}\n"


def test_a_unit_of_the_greatest_length_is_left_whole() -> None:
    assert len(segment(Passage(words(MAX_UNIT_WORDS), format="text"))) == 1
    assert len(segment(Passage(words(MAX_UNIT_WORDS + 1), format="text"))) == 2


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["word", "so,", "then;", "x\n", "longerthanmost"]), min_size=121, max_size=600))
def test_no_unit_has_more_words_than_allowed(tokens: list[str]) -> None:
    assert max(len(piece.split()) for piece in texts_of(" ".join(tokens))) <= MAX_UNIT_WORDS


@pytest.mark.parametrize("mark", ["\u0301", "\ufe0f", "\u200d"])
def test_a_cut_leaves_a_character_and_its_marks_together(mark: str) -> None:
    text = f"e{mark}" * 2000
    assert len(segment(Passage(text, format="text"))) > 1
    assert all(piece[0] == "e" and piece[-1] == mark for piece in texts_of(text))


@pytest.mark.parametrize("character", ["a", "漢", "😀", "\u0301"])
def test_a_megabyte_without_a_space_comes_in_bounded_pieces(character: str) -> None:
    text = character * 1_000_000
    units = segment(Passage(text, format="text"))
    assert_tiles(text, units)
    assert max(unit.end - unit.start for unit in units) <= 2_000


@pytest.mark.parametrize("run", ["?!", "?)", "。」", "\r", "\x0c", "\n\x0b", "- ", ". ", "?", "1.", "\n-\t"])
def test_a_run_of_anything_takes_linear_time(run: str) -> None:
    text = run * (100_000 // len(run)) + "。"
    started = time.process_time()
    segment(Passage(text, format="text"))
    # Linear work takes about a second, quadratic work minutes.
    assert time.process_time() - started < 15


@pytest.mark.slow
@pytest.mark.parametrize("run", ["\x0ca", "ab. Cd? ", "word ", "a", ". ", "。", "a\u2029", "1. a"])
def test_a_segmenter_is_called_as_often_as_the_text_is_long_and_never_with_much(run: str) -> None:
    """So that the work is linear, and can be stopped soon by the segmenter."""

    def calls_for(characters: int) -> list[int]:
        calls: list[int] = []

        def segmenter(text: str) -> list[int]:
            calls.append(len(text))
            return get_segmenter()(text)

        segment(Passage(run * (characters // len(run))), segmenter)
        return calls

    few, many = calls_for(50_000), calls_for(200_000)
    assert max(many) <= 17_000
    assert len(many) <= 4.2 * len(few)
    assert sum(many) <= 4.2 * sum(few) <= 4.2 * 2.1 * 50_000


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(ONE_LINE)))
@example(["It rained. ", "Why? ", "Dr. ", "「行く。」", "と言った", "... "])
@example([" 1. ", "1. a"])
def test_a_long_block_is_split_as_if_it_were_split_at_once(pieces: list[str]) -> None:
    text = (("".join(pieces) + "It rained on No. 7. ") * 3000)[:60_000]
    at_once = [end for end in get_segmenter()(text) if end < len(text)]
    by_pieces = [end for end in _split(text, get_segmenter()) if end < len(text)]
    assert by_pieces == at_once


@given(TEXTS)
def test_a_text_without_a_stop_inside_has_no_inner_end(text: str) -> None:
    """What the segmenter leaves to a shortcut, checked against what it stands for."""
    import nupunkt

    ends = [end for _, end in nupunkt.load_default_model().span_tokenize(text)]
    inner = [end for end in ends if text[end:].strip()]
    assert [end for end in nupunkt_segmenter()(text) if text[end:].strip()] == inner


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(InputError, match=r"format: unknown format 'docx'; use one of auto, text"):
        segment(Passage("text", format="docx"))
