from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from secateur.eval.report.html import render_html
from secateur.eval.report.plots import report_plots
from secateur.models.errors import MissingExtraError

VOID = {"meta", "img", "br", "link", "hr"}
PLOTS = {
    "macro-curves",
    "source-bars",
    "source-curves",
    "score-histograms",
    "reliability",
}


class Page(HTMLParser):
    """Collects what a page has, and fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.slow
def test_the_page_loads_and_runs_nothing(metrics: dict[str, Any], worst: dict[str, Any]) -> None:
    page = render_html(metrics, worst)
    for tag, attributes in Page(page).tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            assert attributes.get(name, "#").startswith("#")
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


@pytest.mark.slow
def test_hostile_text_is_shown_as_text(metrics: dict[str, Any], worst: dict[str, Any]) -> None:
    metrics["systems"]["<i>x</i>"] = metrics["systems"].pop("bm25")
    metrics["setup"]["machine"] = "<script>alert(2)</script>"
    page = render_html(metrics, worst)
    assert "<script" not in page
    assert "<i>" not in page
    assert "<b>" not in page
    text = Page(page).text
    assert "Anna won. <script>alert(1)</script>" in text
    assert "Who <b>won</b>?" in text
    assert "<script>alert(2)</script>" in text


@pytest.mark.slow
def test_every_plot_is_there_with_ids_of_its_own(metrics: dict[str, Any], worst: dict[str, Any]) -> None:
    page = Page(render_html(metrics, worst))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {f"plot-{name}" for name in PLOTS} <= set(ids)
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a" and "href" in attributes}
    assert {"systems", "needle", "worst-losses", "worst-keeps"} <= links <= set(ids)
    for _, attributes in page.tags:
        for value in (attributes.get("xlink:href", ""), attributes.get("clip-path", "").removeprefix("url(")):
            assert not value.startswith("#") or value[1:].rstrip(")") in ids
    assert "random_$x$" in page.text
    assert "compression (share of characters dropped)" in page.text


@pytest.mark.slow
def test_sentences_are_coloured_by_what_became_of_them(metrics: dict[str, Any], worst: dict[str, Any]) -> None:
    page = render_html(metrics, worst)
    assert page.count('class="passage"') == 4
    assert '<span class="unit lost" title="answers, dropped, score 0.05">Anna won.' in page
    assert '<span class="unit extra" title="does not answer, kept, score 0.50">Cats &amp; dogs.' in page
    assert '<span class="unit hit" title="answers, kept, score 0.78">She ran. <small>0.78</small>' in page
    assert '<span class="unit dropped" title="does not answer, dropped, score 0.01">It rained.' in page


@pytest.mark.slow
def test_same_input_same_bytes(metrics: dict[str, Any], worst: dict[str, Any]) -> None:
    assert render_html(metrics, worst) == render_html(metrics, worst)


@pytest.mark.slow
def test_plots_leave_no_global_state_behind(metrics: dict[str, Any]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert set(report_plots(metrics)) == PLOTS
    assert dict(matplotlib.rcParams) == before


def test_many_systems_have_a_style_each() -> None:
    from secateur.eval.report.plots import series_style

    assert len({(style["color"], str(style["linestyle"])) for style in map(series_style, range(20))}) == 20


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_extra_names_the_command(
    metrics: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed; run: pip install 'secateur\[eval\]'"):
        render_html(metrics, None)
