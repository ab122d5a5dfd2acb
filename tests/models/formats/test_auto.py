"""The format that a text is recognised as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.formats import auto
from secateur.models.formats.auto import detect_format

VALUES = """# Values of the chart.

# Repository of the image. It needs no tag.
image: nginx
## @param replicas Number of pods. Each has a volume.
##
replicas: 2
service:
  # Port of the service.
  port: 80
"""
RUFF = """src/a.py:
   42:23 ANN001 Missing type annotation for function argument `attribs`
   52:9  S101 Use of `assert` detected
"""
ANNOTATIONS = """::error title=ruff (UP007),file=a.py,line=16::a.py:16:15: UP007 Use `X | Y` for type annotations
::error title=ruff (S101),file=a.py,line=36::a.py:36:9: S101 Use of `assert` detected
"""
MODULE = """# SPDX-License-Identifier: MIT

from __future__ import annotations

class FrozenError(AttributeError):
    \"\"\"
    A frozen instance has been modified. It mirrors `AttributeError`.
    \"\"\"
    msg = "can't set attribute"
"""
PACKAGES = """ii  libfontconfig1       2.14.1-4     amd64   generic font configuration library
ii  libfontconfig1-dev   2.14.1-4     amd64   generic font configuration library
ii  libfontenc1          1:1.1.4-1    amd64   X11 font encoding library
"""
ROWS = "1039\tKarl F.\tOslo\t290.78\n1040\tFinn D.\tOslo\t108.51\n1082\tPia H.\tLyon\t-80.03\n"
SETTINGS = "service.backup.days=35\nservice.cache.backend=redis\nservice.server.cert=/etc/ssl/chain.pem\n"
PATHS = "3ff8b3b Reword the glossary\ndocs/glossary.md\n?? docs/new.md\n M src/a/b.py\n"
GREP = "./docs/blog.rst:33:Import the blueprint from the factory using\n./docs/blog.rst:51:Unlike the auth blueprint\n"
LINKS = """- [Ubuntu 24.04 LTS](https://storage.example.com/wslblob/Ubuntu2404-240425.AppxBundle)
- [Ubuntu 22.04 LTS](https://aka.example.com/wslubuntu2204?a=b&c=d)
- [Debian GNU/Linux](https://aka.example.com/wsl-debian-gnulinux)
"""
RULES = """# Rules

- `--max-bytes`: the limit.
- `--min-bytes`: the least. It is `[0, 1]`.
- 5031: `{{value}}` is restored when using `--fixture`.
"""


@pytest.mark.parametrize(
    "text",
    [VALUES, RUFF, ANNOTATIONS, MODULE, PACKAGES, ROWS, SETTINGS, PATHS, GREP],
    ids=["values", "ruff", "annotations", "module", "packages", "rows", "settings", "paths", "grep"],
)
def test_records_settings_and_code_are_lines(text: str) -> None:
    assert detect_format(text) == "lines"


@pytest.mark.parametrize("text", [LINKS, RULES, "# Keys\n\nname: a word that is said. It is long.\nOne more. Two.\n"])
def test_lists_of_links_and_documents_with_symbols_are_markdown(text: str) -> None:
    assert detect_format(text) == "markdown"


def test_prose_is_text() -> None:
    assert detect_format("It rained all day. He stayed, and read.\n\nThe next day was dry, so he left.") == "text"
    assert detect_format("") == detect_format(" \n") == "text"


@given(
    st.lists(
        st.sampled_from(
            ["a", " ", "\n", "\n\n", "# ", "## B\n", "```", "~~~", "|---|", "---", "[a](b)", "](", "**b**", "`c`", "|"]
        )
    ).map("".join)
)
def test_a_text_without_marks_is_no_markdown(text: str) -> None:
    """What is found before the slower searches, checked against them."""
    found = detect_format(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "_BLOCK_MARKS", ("",))
        patch.setattr(auto, "_INLINE_MARKS", ("",))
        assert detect_format(text) == found
