from __future__ import annotations

from pathlib import Path

import pytest

from secateur.data_scripts.ingest.sources import LeftOut, find
from secateur.data_scripts.ingest.texts import markdown_title, read_file
from secateur.data_scripts.records import Document


def read(path: Path) -> Document | LeftOut:
    (found,) = find(path)
    return found if isinstance(found, LeftOut) else read_file(found)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def pdf(path: Path, *pages: str, title: str | None = None, password: str | None = None) -> Path:
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)
    return path


def test_a_pdf_knows_its_title_and_pages(tmp_path: Path) -> None:
    document = read(pdf(tmp_path / "a.pdf", "First page.", "Second page.", title="Manual"))
    assert isinstance(document, Document)
    assert (document.id, document.title, document.text) == ("a.pdf", "Manual", "First page.\n\nSecond page.")
    starts = document.metadata["page_starts"]
    assert [document.text[start:].split()[0] for start in starts] == ["First", "Second"]


def test_a_pdf_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    whole = pdf(tmp_path / "a.pdf", "Words.").read_bytes()
    for name, data, reason in (
        ("cut.pdf", whole[:100], "broken PDF"),
        ("no.pdf", b"not a PDF", "broken PDF"),
        ("scan.pdf", pdf(tmp_path / "s.pdf", "").read_bytes(), "empty"),
        ("locked.pdf", pdf(tmp_path / "l.pdf", "Words.", password="x").read_bytes(), "locked PDF"),
    ):
        left = read(write(tmp_path / name, data))
        assert isinstance(left, LeftOut)
        assert left.reason == reason, left
        assert name in left.where


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'<meta charset="iso-8859-1"><p>caf\xe9 \x80', "café €"),
        ("<meta charset=koi8-r><p>да".encode("koi8-r"), "да"),
        ("<meta charset=iso-8859-1><p>café".encode(), "café"),  # it lies, and browsers' users would see that
        ("\ufeff<p>café".encode(), "café"),
        ("<p>café".encode("utf-16"), "café"),
    ],
)
def test_html_is_decoded_as_it_declares(tmp_path: Path, data: bytes, text: str) -> None:
    document = read(write(tmp_path / "a.html", data))
    assert isinstance(document, Document)
    assert document.text == text


@pytest.mark.parametrize(
    ("name", "data", "reason", "detail"),
    [
        ("a.txt", b"caf\xe9", "wrong encoding", "byte 3 (0xe9) is not UTF-8"),
        ("a.txt", b"\xef\xbb\xbfcaf\xe9", "wrong encoding", "byte 6 (0xe9)"),
        ("a.html", b"<meta charset=none>caf\xe9", "wrong encoding", "unknown encoding: none"),
        ("a.html", b"<meta charset=undefined>caf\xe9", "wrong encoding", "unknown encoding: undefined"),
        ("a.html", b"<meta charset=idna>caf\xe9", "wrong encoding", "unknown encoding: idna"),
        ("a.html", b"<meta charset=base64>caf\xe9", "wrong encoding", "not a text encoding"),
        ("a.md", b"PK\x03\x04\x00\x00", "binary file", "null bytes"),
        ("a.txt", b"\xff\xfea", "wrong encoding", "UTF-16"),
    ],
)
def test_bytes_that_are_no_text_are_named(tmp_path: Path, name: str, data: bytes, reason: str, detail: str) -> None:
    left = read(write(tmp_path / name, data))
    assert isinstance(left, LeftOut)
    assert left.reason == reason
    assert detail in left.detail


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## Set up ##\n", "Set up"),
        ("```\n# comment\n```\n# Real\n", "Real"),
        ("Under\n=====\n", "Under"),
        ("#hash\ntext\n", ""),
        ("# C#\n", "C#"),
        ("# C# ##  \r\n", "C#"),
        ("## ##\n", ""),
        ("# one\u2028two\x85three\n", "one\u2028two\x85three"),
        ("", ""),
    ],
)
def test_the_first_heading_is_the_title(text: str, title: str) -> None:
    assert markdown_title(text) == title


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    text = "---\ntitle: From the front\ndate: 2024-01-02\n---\n# Head\n\nBody."
    document = read(write(tmp_path / "a.md", text.encode()))
    assert isinstance(document, Document)
    assert (document.title, document.text) == ("From the front", "# Head\n\nBody.")
    assert document.metadata["front_matter"]["date"] == "2024-01-02"


def test_a_rule_is_no_front_matter(tmp_path: Path) -> None:
    text = "---\nJust: [a rule\n---\n# Head\n"
    document = read(write(tmp_path / "a.md", text.encode()))
    assert isinstance(document, Document)
    assert (document.title, document.text) == ("Head", text)


def test_front_matter_may_use_an_alias_and_ends_in_time(tmp_path: Path) -> None:
    document = read(write(tmp_path / "a.md", b"---\na: &a [one, two]\nb: *a\n---\nText."))
    assert isinstance(document, Document)
    assert (document.text, document.metadata["front_matter"]["b"]) == ("Text.", ["one", "two"])
    document = read(write(tmp_path / "b.md", b"---\n" + b"a: b\n" * 20_000 + b"---\nText of the second."))
    assert isinstance(document, Document)
    assert document.text.startswith("---\na: b")
