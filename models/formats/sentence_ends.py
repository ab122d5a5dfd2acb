"""Sentence ends by rule: what a segmenter for English prose misses or finds too many of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_CLOSERS = "」』）)】》〉”’\"'"
_FULL_STOP = re.compile(rf"(?<![。！？｡!?])([。！？｡!?]++)[{_CLOSERS}]*+")
_QUOTATIVE = ("と", "って")  # 「行く。」と言った: the sentence goes on after the quotation
_HAS_CJK_STOP = re.compile("[。！？｡]")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

# Full stops and question marks of Devanagari, Urdu, Arabic, Burmese, Ethiopic, Armenian, Khmer, Tibetan and Greek; the
# full-width full stop, which also separates decimals; and Greek's question mark, which is often typed as a semicolon.
_OTHER = "।॥۔؟။።፧։។།\u037e"
_HAS_OTHER_STOP = re.compile(f"[{_OTHER}．;]")
_OTHER_STOP = re.compile(rf"(?:[{_OTHER}]++|(?<!\d)．|．(?!\d)|(?<=[α-ωά-ώ]);(?=\s+[Α-ΩΆ-Ώ]))[{_CLOSERS}]*+")
# Citation marks: [3], [4-6], [^4], [a], [note 2], [citation needed], [[5]](url), (4) and superscript digits.
_MARK = (
    r"(?:\[\^?(?:[a-z]|\d{1,3})(?:[-–,] ?\d{1,3})*\](?!\()|\[\[\d{1,3}\]\]?\([^\s()]*\)\]?"
    r"|\[(?:note|nb|lower-alpha)? ?\d{1,3}\](?!\()|\[[a-z]+(?: [a-z]+){1,3}\??\](?!\()|\(\d{1,3}\)|[⁰¹²³⁴-⁹]+)"
)
_CITED = re.compile(rf"[.!?…][”’\"')]*+(?: ?(?=\[\d)|(?=[\[(⁰¹²³⁴-⁹])){_MARK}(?: ?{_MARK})*+")
# References that stand after a sentence, at the end of their line: :issue:`1971`.
_ROLES = re.compile(r"[.!?…][”’\"')]*+\s++(?::[a-z][a-z:+-]{0,40}:`[^`\n]{1,200}`[,.;]?[ \t]*+)+(?:\n|\Z)")
# Lines of a conversation, each with its speaker.
_TURN = re.compile(r"^[ \t]*+(?P<label>[^\W\d_][\w.'’-]{0,30}(?: [\w.'’()-]{1,30}){0,2}) ?:(?=\s)", re.MULTILINE)
_QUESTION_OR_ANSWER = re.compile(r"(?:q|a|question|answer)\d{0,3}\Z", re.IGNORECASE)
_FILLED_LINE = re.compile(r"^[ \t]*+\S", re.MULTILINE)
_NEXT_LOWER = re.compile(r"\s*[a-zäöü]")
# A sentence glued to the one before it: "finished in 1889.It is"; the word before must be no address or path.
_GLUED = re.compile(r"[.!?](?<=[a-z0-9].)['\"”)]?(?=(?!Com\b|Net\b|Org\b)[A-Z][a-z]*['’]?[a-z]*[,;]? )")
_PLAIN_WORD = re.compile(r"(?:^|[\s\"'“($€£])[\w'’-]{1,40}\Z")
# A letter that names something is no initial: "size M. Order one". An acronym ends a sentence if what follows reads as
# its subject and verb: "the U.S.A. Sales fell".
_CAPITAL_STOP = re.compile(r"\.(?<=[A-Z].)(?=\s+[A-Z])")
_LABEL = re.compile(
    r"\b(?:size|type|group|vitamin|class|grade|plan|option|section|figure|table|appendix|part|model|step|hepatitis|level"
    r"|category|schedule|exhibit|zone|terminal|gate|building|block|point|team) [A-Z]\.\Z",
    re.IGNORECASE,
)
_ACRONYM = re.compile(r"\b(?:[A-Z]\.){3,8}\Z")
_CLAUSE = re.compile(r"\s+[A-Z][a-z]+ [a-z]")
# German: "am 3. Mai", "der 2. Weltkrieg".
_MONTH = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
_NUMBER = re.compile(r"\b\d{1,3}\.\s*\Z")
_ORDINAL = re.compile(r"\b(?:[Dd](?:er|as|em|es)|[Vv]om|[Zz]um|[Bb]eim|[Ii]m|(?<!I )[Aa]m) \d{1,3}\.\s*\Z")
_NEXT_MONTH = re.compile(rf"\s*(?:{_MONTH})\b")
_NEXT_CAPITAL = re.compile(r"\s*[A-ZÄÖÜ]")
_ABBREVIATION = re.compile(r"\b(?:[^\W\d_]{1,2}\.){2,6}\s*\Z")
_NUMBERING = re.compile(r"\s*(?:§ ?)?\d{1,3}(?:\.\d{1,3})+\.\s*\Z")
_CLOSED_CALL = re.compile("['\"][)\\],:;]")
# Without these, no rule adds an end.
_MAY_END = re.compile(rf"[.!?…](?=\s++\S|[^\s\w]|[A-Z⁰¹²³⁴-⁹])|:\s|[{_OTHER}．。！？｡]|[α-ωά-ώ];|[!?](?=[^\x00-\x7f])")
_BEHIND = 48  # characters that decide whether a stop ends a sentence


def cjk_ends(text: str) -> Iterator[int]:
    """Yield the sentence ends of a text without spaces between sentences (Chinese, Japanese).

    A sentence ends after a full-width stop (or an ASCII ``!`` or ``?`` before a CJK character) and its closing
    brackets, unless a Japanese quotative particle continues it.
    """
    if not _HAS_CJK_STOP.search(text):
        return
    for match in _FULL_STOP.finditer(text):
        end = match.end()
        if not _HAS_CJK_STOP.search(match[1]) and not _CJK.match(text, end):
            continue
        closed = end > match.end(1)
        if not (closed and text.startswith(_QUOTATIVE, end)):
            yield end


def _is_false(text: str, end: int) -> bool:
    """Return whether no sentence ends here, by the characters around an end that a segmenter found."""
    if end >= len(text):
        return False
    before = text[max(0, end - _BEHIND) : end]
    following = text[end]
    if not (following.isspace() or before[-1].isspace()) and before[-1] in ".!?'\")":
        # Inside of a token: ![a](b), f('Why?'), file.!x
        if before[-1] + following == "![" or _CLOSED_CALL.match(text, end):
            return True
        return not (following.isupper() or following in "\"'“‘«([" or _CJK.match(text, end))
    if _NUMBER.search(before):
        ordinal = _NEXT_MONTH.match(text, end) or (_ORDINAL.search(before) and _NEXT_CAPITAL.match(text, end))
        return bool(ordinal) or (end < _BEHIND and bool(_NUMBERING.fullmatch(before)))
    return bool(_NEXT_LOWER.match(text, end) and _ABBREVIATION.search(before))


def _missed(text: str) -> Iterator[int]:
    """Yield sentence ends that segmenters miss."""
    for match in _GLUED.finditer(text):
        if _PLAIN_WORD.search(text[max(0, match.start() - _BEHIND) : match.start()]):
            yield match.end()
    for match in _CAPITAL_STOP.finditer(text):
        before = text[max(0, match.end() - _BEHIND) : match.end()]
        if _LABEL.search(before) or (_ACRONYM.search(before) and _CLAUSE.match(text, match.end())):
            yield match.end()
    if not text.isascii():
        if _HAS_OTHER_STOP.search(text):
            yield from (match.end() for match in _OTHER_STOP.finditer(text))
        yield from cjk_ends(text)


def _turns(text: str) -> Iterator[int]:
    """Yield where questions and answers begin, or the turns of a conversation if half of the lines have a speaker."""
    turns = list(_TURN.finditer(text)) if text.count(":") > 1 else []
    if len(turns) < 2:
        return
    speakers = {turn["label"] for turn in turns}
    conversation = len(speakers) < len(turns) and 2 * len(turns) >= len(_FILLED_LINE.findall(text))
    for turn in turns:
        if turn.start() and (conversation or _QUESTION_OR_ANSWER.match(turn["label"])):
            yield turn.start()


def corrected_ends(text: str, ends: Iterable[int]) -> list[int]:
    """Return the sentence ends of a block of text, given those that a segmenter found.

    Added are ends in other scripts, after a label or an acronym, between sentences without a space, and before the next
    question, answer or turn of a conversation. Citation marks and references belong to the sentence before them.
    Left out are ends after ordinals, abbreviations and section numbers, and inside of a token.

    Args:
        text: The block.
        ends: Ends that a segmenter found, ascending.

    Returns:
        Ends in ascending order.
    """
    ends = list(ends)
    if not ends and not _MAY_END.search(text):
        return []
    found = {end for end in ends if not _is_false(text, end)}
    found.update(_missed(text))
    found.update(_turns(text))
    for match in _ROLES.finditer(text):
        found.difference_update(range(match.start(), match.end()))
    for match in _CITED.finditer(text):
        found.difference_update(range(match.start(), match.end()))
        if not _NEXT_LOWER.match(text, match.end()):
            found.add(match.end())
    return sorted(found)
