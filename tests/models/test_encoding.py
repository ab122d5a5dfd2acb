"""Pairs around a tokenizer's special tokens; each text token knows its unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from secateur.models.checkpoint import load_tokenizer
from secateur.models.encoding import EncodedPassage, PairEncoder, PairTemplate, token_units
from secateur.models.errors import InputError, ModelError
from secateur.models.segmentation import segment
from secateur.models.types import Passage, Unit

ROBERTA_WORDS = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁b", "▁who", "▁came", "▁ann", "▁came.", "▁bob", "▁left."]


def roberta_tokenizer(pair: bool = True) -> Tokenizer:
    """A tokenizer with RoBERTa's pair template and SentencePiece's way with spaces."""
    vocabulary = {word: number for number, word in enumerate(ROBERTA_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if pair:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    return tokenizer


def encode(encoder: PairEncoder, text: str, title: str | None = None) -> EncodedPassage:
    query, _ = encoder.encode_query("who came")
    return encoder.encode(query, [Passage(text, title=title)], [segment(Passage(text))])[0]


def test_the_template_of_bert(tokenizer: Tokenizer, base_model: Path) -> None:
    expected = PairTemplate(prefix=(101,), middle=(102,), suffix=(102,), passage_type=1)
    assert PairTemplate.of(tokenizer) == expected
    assert PairEncoder(load_tokenizer(base_model), 512).template == expected
    assert expected.specials == 3


def test_the_template_of_roberta() -> None:
    expected = PairTemplate(prefix=(0,), middle=(2, 2), suffix=(2,), passage_type=0)
    assert PairTemplate.of(roberta_tokenizer()) == expected


def test_a_tokenizer_without_separators_is_refused() -> None:
    with pytest.raises(ModelError, match="no separator between the two texts"):
        PairTemplate.of(roberta_tokenizer(pair=False))


def test_a_tokenizer_that_drops_the_second_text_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.normalizer = normalizers.Replace("b", "")
    with pytest.raises(ModelError, match="does not encode a pair"):
        PairTemplate.of(tokenizer)


def test_a_window_is_query_then_passage_between_special_tokens(small_encoder: PairEncoder) -> None:
    query, _ = small_encoder.encode_query("who came")
    (window,) = encode(small_encoder, "Ann came.").windows
    assert window.ids.tolist()[: window.passage_start] == [101, *query, 102]
    assert window.ids[-1] == 102
    assert window.text_start == window.passage_start
    assert len(window.ids) == window.text_start + len(window.token_unit) + 1


def test_a_roberta_window_has_its_separators() -> None:
    (window,) = encode(PairEncoder(roberta_tokenizer(), 32), "Ann came.").windows
    assert [ROBERTA_WORDS[i] for i in window.ids] == [
        *("<s>", "▁who", "▁came", "</s>"),
        *("</s>", "▁ann", "▁came.", "</s>"),
    ]
    assert window.text_start == 5


@pytest.mark.parametrize(
    ("text", "units", "tokens"),
    [
        ("Ann came. Bob left.", ["Ann came. ", "Bob left."], [3, 3]),
        ("Cafe\u0301 zo\u0308e. Next one.", ["Cafe\u0301 zo\u0308e. ", "Next one."], [3, 3]),
        ("Hi 👩\u200d👩\u200d👧 there. Ok 👍🏽.", ["Hi 👩\u200d👩\u200d👧 there. ", "Ok 👍🏽."], [4, 3]),
        ("שלום עולם. מה שלומך?", ["שלום עולם. ", "מה שלומך?"], [9, 8]),
        ("A\x00nn\x07 came. \x01Bob left.", ["A\x00nn\x07 came. ", "\x01Bob left."], [3, 3]),
        ("漢字。次。", ["漢字。", "次。"], [3, 2]),
        ("\u0301. Ann came.", ["\u0301. ", "Ann came."], [1, 3]),
        ("\ufeffİt is. Ann came.", ["\ufeffİt is. ", "Ann came."], [3, 3]),
    ],
)
def test_tokens_belong_to_the_unit_they_stand_in(
    small_encoder: PairEncoder, text: str, units: list[str], tokens: list[int]
) -> None:
    assert [text[unit.start : unit.end] for unit in segment(Passage(text))] == units
    encoded = encode(small_encoder, text)
    assert encoded.unit_tokens.tolist() == tokens
    assert encoded.windows[0].token_unit.tolist() == [unit for unit, count in enumerate(tokens) for _ in range(count)]
    assert encoded.unit_source.tolist() == list(range(len(units)))


@given(
    st.lists(st.sampled_from(["Ann came. ", "Bob left.\n\n", "「行く。」 ", "👍🏽 ", "e\u0301\x00 ", "ש. ", "- x\n"]))
)
def test_every_token_begins_in_its_unit(tokenizer: Tokenizer, pieces: list[str]) -> None:
    text = "".join(pieces) + "End."
    units = segment(Passage(text))
    offsets = np.asarray(tokenizer.encode(text, add_special_tokens=False).offsets, dtype=np.int32)
    for (start, _), unit in zip(offsets, token_units(offsets, text, units), strict=True):
        assert units[unit].start <= start < units[unit].end


def test_the_space_before_a_word_goes_with_the_word() -> None:
    text = "Ann came.  Bob left."
    units = [Unit(0, 11), Unit(11, 20)]
    offsets = roberta_tokenizer().encode(text, add_special_tokens=False).offsets
    assert any(text[start].isspace() and start < 11 < end for start, end in offsets)
    mapped = token_units(np.asarray(offsets, dtype=np.int32), text, units)
    belongs = {text[start:end].strip(): int(unit) for (start, end), unit in zip(offsets, mapped, strict=True)}
    assert belongs["Ann"] == belongs["came."] == 0
    assert belongs["Bob"] == belongs["left."] == 1


def test_a_special_token_in_a_text_is_text(small_encoder: PairEncoder) -> None:
    query, _ = small_encoder.encode_query("[SEP] [CLS]")
    text = "[SEP] is text, [CLS] and [PAD] too."
    (encoded,) = small_encoder.encode(query, [Passage(text, title="[SEP]")], [segment(Passage(text))])
    ids = encoded.windows[0].ids.tolist()
    assert ids.count(102) == 2
    assert ids.count(101) == 1
    assert 0 not in ids


def test_a_query_longer_than_its_share_is_refused(small_encoder: PairEncoder) -> None:
    most = small_encoder.max_query_tokens
    assert most == 64 // 2 - 3
    ids, cut = small_encoder.encode_query("word " * most)
    assert len(ids) == most
    assert not cut
    with pytest.raises(InputError, match=rf"query: has {most + 1} tokens, more than the {most} .*truncate_query"):
        small_encoder.encode_query("word " * (most + 1))


def test_a_query_is_cut_where_asked(small_encoder: PairEncoder, tokenizer: Tokenizer) -> None:
    query = "one two three four five six seven " * 10
    ids, cut = small_encoder.encode_query(query, truncate=True)
    assert cut
    assert ids == tokenizer.encode(query, add_special_tokens=False).ids[: small_encoder.max_query_tokens]


def test_a_title_stands_before_the_text_and_in_no_unit(small_encoder: PairEncoder, tokenizer: Tokenizer) -> None:
    plain = encode(small_encoder, "Ann came. Bob left.")
    titled = encode(small_encoder, "Ann came. Bob left.", title="The party")
    (window,) = titled.windows
    between = window.ids[window.passage_start : window.text_start].tolist()
    assert between == tokenizer.encode("The party: ", add_special_tokens=False).ids
    assert window.ids[window.text_start :].tolist() == plain.windows[0].ids[plain.windows[0].text_start :].tolist()
    assert titled.unit_tokens.tolist() == plain.unit_tokens.tolist()
    assert window.token_unit.tolist() == plain.windows[0].token_unit.tolist()
    assert not titled.title_cut


def test_a_title_longer_than_its_share_is_cut_and_says_so(small_encoder: PairEncoder) -> None:
    encoded = encode(small_encoder, "Ann came. " * 20, title="word " * 40)
    assert encoded.title_cut
    for window in encoded.windows:
        room = 64 - window.passage_start - 1
        assert window.text_start - window.passage_start <= room // 4
        assert len(window) <= 64


@pytest.mark.parametrize("title", [None, "", "  "])
def test_no_title_takes_no_room(small_encoder: PairEncoder, title: str | None) -> None:
    (window,) = encode(small_encoder, "Ann came.", title=title).windows
    assert window.text_start == window.passage_start


def test_a_unit_inside_a_token_takes_that_tokens_score(small_encoder: PairEncoder) -> None:
    passage = Passage("🦜" * 90 + " came.")  # one [UNK] for the first 90 characters
    units = [Unit(0, 40), Unit(40, 91), Unit(91, 96)]
    (encoded,) = small_encoder.encode([5], [passage], [units])
    assert encoded.unit_tokens.tolist() == [1, 0, 2]
    assert encoded.unit_source.tolist() == [0, 0, 2]


def test_a_long_word_is_read_and_counted_in_pieces(small_encoder: PairEncoder) -> None:
    text = "a" * 5000 + " came. Bob left."
    encoded = encode(small_encoder, text)
    assert encoded.unit_tokens.sum() == 2505  # two letters a token
    assert encoded.unit_tokens[-1] == 3
    assert small_encoder.count_tokens(text) == 2505


def test_hidden_text_is_counted_but_not_read(small_encoder: PairEncoder) -> None:
    passage = Passage("<b>Ann</b> came.")
    hidden = ((0, 3), (6, 10))
    (plain,) = small_encoder.encode([5], [Passage("Ann came.")], [[Unit(0, 9)]])
    (encoded,) = small_encoder.encode([5], [passage], [[Unit(0, 16, hidden=hidden)]])
    assert encoded.windows[0].ids.tolist() == plain.windows[0].ids.tolist()
    assert encoded.unit_tokens.tolist() == [plain.unit_tokens[0] + small_encoder.count_tokens("<b> </b>")]


@pytest.mark.parametrize(
    ("text", "share"), [("Ann came.", 0.0), ("🦜🦜 came.", 2 / 7), ("🦜", 1.0), (" ", 0.0), ("", 0.0)]
)
def test_the_share_that_the_tokenizer_does_not_know(small_encoder: PairEncoder, text: str, share: float) -> None:
    assert small_encoder.unreadable(text) == pytest.approx(share)
    assert encode(small_encoder, text).unreadable == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "  \n", "\u200b", "\x00\n\n\x00"])
def test_a_text_without_a_token_has_one_window_without_text(small_encoder: PairEncoder, text: str) -> None:
    encoded = encode(small_encoder, text)
    (window,) = encoded.windows
    assert len(window.token_unit) == 0
    assert set(encoded.unit_source.tolist()) <= {-1}
    assert encoded.unit_tokens.sum() == 0
