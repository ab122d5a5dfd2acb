"""What mkdocs needs to build the site: importable sources, links that stay within it, and proof that it is offline."""

from __future__ import annotations

import posixpath
import re
import shutil
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"
REFERENCE = ROOT / "build" / "reference"

# Code is left alone: fences as wholes, and code spans outside of a link's text.
_CODE_OR_LINK = re.compile(
    r"^```.*?^```$|(?<!!)\[(?P<text>(?:[^\[\]`]|`[^`]*`)+)\]\((?P<target>[^()\s]+)\)|`[^`\n]*`",
    re.DOTALL | re.MULTILINE,
)
_BLOCK = re.compile(r"^<!-- from (?P<file>\S+): (?P<name>\S+) -->$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_LOADED = re.compile(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*\bhref=\"?(?:https?:)?//")


def on_startup(**_: Any) -> None:
    """Lay the packages out as they are imported: in the checkout `secateur.models` is the folder `models`."""
    shutil.rmtree(REFERENCE, ignore_errors=True)
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    for package, folder in sorted(setuptools["package-dir"].items()):
        shutil.copytree(
            ROOT / folder,
            REFERENCE.joinpath(*package.split(".")),
            ignore=lambda _, names: [name for name in names if "." in name and not name.endswith(".py")],
            dirs_exist_ok=True,
        )


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what a page takes from files of the repository, and adjust its links.

    Front matter `include: FILE` takes a whole file in the page's place, a line `<!-- from FILE: NAME -->` the marked
    block of that name, a table that `make eval` or `make bench` writes.
    """
    path = PurePosixPath(DOCS, page.file.src_uri)
    if included := page.meta.get("include"):
        path = PurePosixPath(included)
        markdown = _FRONT_MATTER.sub("", (ROOT / path).read_text(encoding="utf-8"))
    markdown = _BLOCK.sub(lambda match: block(match["file"], match["name"]), markdown)
    return adjust_links(markdown, path, posixpath.dirname(page.file.src_uri))


def block(file: str, name: str) -> str:
    """Return a marked block of a file.

    Raises:
        PluginError: The file has no such block.
    """
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, re.DOTALL)
    if found is None:
        raise PluginError(f"{file} has no block {name}")
    return found[1]


def adjust_links(markdown: str, path: PurePosixPath, folder: str = "") -> str:
    """Return a page with its links as the site has them.

    A link to a page stays a link. One to a file that is not part of the site becomes the file's path in the
    repository, as code, behind the link's text if that does not name it.

    Args:
        markdown: The page.
        path: The file that it stands in, relative to the repository.
        folder: Of the page in the site.

    Raises:
        PluginError: There is no such file.
    """

    def fixed(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        if target is None or re.match(r"[a-z]+:|#|/", target):
            return match[0]
        name, _, anchor = target.partition("#")
        file = posixpath.normpath(path.parent / name)
        if not (ROOT / file).exists():
            raise PluginError(f"{path}: there is no {file} to link to")
        if file.startswith(f"{DOCS}/"):
            inside = posixpath.relpath(file.removeprefix(f"{DOCS}/"), folder or ".")
            return f"[{text}]({inside}{'#' + anchor if anchor else ''})"
        return f"`{file}`" if text.strip("`") in (file, Path(file).name, Path(file).stem) else f"{text} (`{file}`)"

    return _CODE_OR_LINK.sub(fixed, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would load something from elsewhere.

    Raises:
        PluginError: It would.
    """
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri}: loads from elsewhere: {found[0]}")
    return output
