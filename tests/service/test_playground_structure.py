"""Formats, structure, reasons and options in the playground, in a real browser on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_core_python.selenium import Axe
from browser import browser
from playground import Page, kept_by_server
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.support.select import Select

from secateur.models.segmentation import FORMATS

pytestmark = pytest.mark.e2e

MARKDOWN = """# Lane

It is **quick**. See [the guide](https://example.org/guide).

| Setting | Default |
| --- | --- |
| `timeout` | 30 \\| 60 |

- One
  - Two

1. First

> Said once.

```python
def crawl():
    return 1
```
"""
LOG = "2026-05-01 09:00 INFO start\n2026-05-01 09:01 ERROR disk full\n\n2026-05-01 09:02 INFO stop\n"
HTML = (
    "<h2>Prices</h2>\n<script>alert(1)</script>\n<table><tr><th>Day</th><th>Price</th></tr>\n"
    "<tr><td>Monday</td><td>2 <b>euros</b></td></tr></table>\n<ul><li>Bring a coat &amp; a &nosuch; hat.</li></ul>\n"
)
HOSTILE = "\n\n".join(
    [
        "# <img src=x onerror=\"document.title='owned'\">",
        "<script>document.title = 'owned'</script>",
        "- [click](javascript:document.title='owned') **<svg onload=alert(1)>**",
        "| <b>a</b> | `<i>` |\n| --- | --- |\n| <iframe src=//example.org> | b |",
        "```\n<style>* { display: none }</style>\n```",
    ]
)


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


@pytest.fixture
def page(driver: Chrome, server: Any) -> Page:
    page = Page(driver, f"{server.url}/")
    page.open()
    driver.get_log("browser")
    return page


def seen(page: Page, selector: str) -> list[str]:
    """Return what is to be read in elements."""
    return [element.text for element in page.all(f"#ranking {selector}")]


def reasons(page: Page) -> dict[str, str]:
    """Return the word beside each unit that has one."""
    script = "return [...document.querySelectorAll('.piece .why')].map((why) => why.textContent)"
    return dict(zip(page.units(".piece:has(.why)"), page.driver.execute_script(script), strict=True))


def press(page: Page, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def test_markdown_is_shown_as_what_it_is(page: Page) -> None:
    page.prune("What is the timeout?", MARKDOWN)
    page.set(page.find("always_keep"), "re:.")
    page.until_pruned()
    assert seen(page, ".ranked .format") == ["markdown"]
    assert seen(page, "h4 .unit") == ["Lane"]
    assert seen(page, "strong") == ["quick"]
    assert seen(page, ".link") == ["the guide"]
    assert page.all("#ranking a") == []
    assert seen(page, "th") == ["Setting", "Default"]
    assert seen(page, "td.cell") == ["timeout", "30 \\| 60"]
    assert seen(page, ".list_item .unit") == ["One", "Two", "1. First"]
    first, second, third = (item.location["x"] for item in page.all("#ranking .list_item .unit"))
    assert first == third < second
    assert seen(page, "blockquote .unit") == ["Said once."]
    assert seen(page, ".lines .numbered") == ["def crawl():", "    return 1"]
    assert [row.get_attribute("data-line") for row in page.all(".numbered")] == ["17", "18"]
    page.find("marks").click()
    assert seen(page, "h4 .unit") == ["# Lane"]
    assert "[the guide](https://example.org/guide)" in seen(page, "p")[0]


def test_every_character_is_in_the_page(page: Page) -> None:
    for text in (MARKDOWN, LOG, HTML, HOSTILE, '{"a": 1,\n "b": [2, 3]}\n', "Prose. It goes on.\n\n- And a list."):
        page.prune("What is it?", text)
        assert "".join("".join(page.units()).split()) == "".join(text.split())


def test_lines_have_numbers_and_scores(page: Page, client: httpx.Client) -> None:
    page.prune("What went wrong?", LOG)
    assert seen(page, ".ranked .format") == ["lines"]
    assert [row.get_attribute("data-line") for row in page.all(".numbered")] == ["1", "2", "4"]
    units = client.post("/v1/prune", json={**page.asked(), "return_units": True}).json()["results"][0]["units"]
    scores = [float(value) for value in seen(page, ".lines .value")]
    assert scores == pytest.approx([unit["score"] for unit in units], abs=0.005)


def test_html_is_shown_without_its_markup(page: Page) -> None:
    page.prune("How much is it on Monday?", HTML)
    assert seen(page, ".ranked .format") == ["html"]
    assert seen(page, "h4 .unit") == ["Prices"]
    assert seen(page, "th") == ["Day", "Price"]
    assert seen(page, "td.cell .unit")[:2] == ["Monday", "2 euros"]
    assert "alert" not in page.find("ranking").text
    entity = "const [shown] = document.querySelectorAll('#ranking .entity'); return getComputedStyle(shown, '::before')"
    assert page.driver.execute_script(f"{entity}.content") == '"&"'
    assert seen(page, ".list_item .unit") == ["Bring a coat a &nosuch; hat."]
    page.find("marks").click()
    assert seen(page, ".list_item .unit") == ["Bring a coat &amp; a &nosuch; hat."]
    assert "<script>" in page.find("ranking").text
    assert "2 <b>euros</b>" in page.find("ranking").text


@pytest.mark.parametrize("name", FORMATS)
def test_passages_are_only_text(page: Page, name: str) -> None:
    page.find("clear").click()
    Select(page.all(".passage .format-of")[0]).select_by_visible_text(name)
    page.set(page.find("query"), "What is it?")
    page.set(page.all(".passage .body")[0], HOSTILE)
    page.find("prune").click()
    page.until_pruned()
    page.find("marks").click()
    assert page.all("#ranking .units :is(img, script, svg, iframe, style, a, b, i)") == []
    assert page.driver.title == "Secateur playground"
    assert page.complaints() == []


def test_the_format_can_be_chosen(page: Page) -> None:
    page.prune("What went wrong?", LOG)
    choice = Select(page.all(".passage .format-of")[0])
    assert [option.text for option in choice.options] == list(FORMATS)
    assert page.asked()["passages"] == [LOG]
    choice.select_by_visible_text("text")
    page.until_pruned()
    assert page.asked()["passages"] == [{"text": LOG, "format": "text"}]
    assert seen(page, ".ranked .format") == ["text"]
    assert page.all("#ranking .lines") == []


def test_each_unit_says_why_it_is_kept(page: Page, client: httpx.Client) -> None:
    text = "# Tower\n\nLamps are sold in the shop. It was finished in 1889. Bread is baked. Cats sleep."
    page.prune("When was the tower finished?", text)
    best = max(float(piece.get_attribute("data-score") or "nan") for piece in page.all("#ranking .piece"))
    page.set(page.find("threshold"), best)
    page.set(page.find("neighbours"), 1)
    page.until_pruned()
    assert page.asked()["neighbours"] == 1
    assert page.kept() == kept_by_server(client, **page.asked())
    assert reasons(page) == {
        "# Tower": "structure",
        "Lamps are sold in the shop.": "neighbour",
        "Bread is baked.": "neighbour",
    }
    piece = page.all("#ranking .piece[data-reason=neighbour]")[0]
    ActionChains(page.driver).move_to_element(piece).perform()
    assert page.text("tip").endswith(" · kept as a neighbour of a kept unit · sentence")
    assert piece.get_attribute("aria-describedby") == "tip"
    plain, marked = (
        page.all(f"#ranking .piece[data-reason={name}] > .unit")[0].value_of_css_property("border-bottom-style")
        for name in ("neighbour", "structure")
    )
    assert (plain, marked) == ("dotted", "dashed")


def test_what_is_dropped_in_spite_of_its_score_says_so(page: Page) -> None:
    kept, other = "The tower was finished in March 1889.", "The tower was finished in March 1889, too."
    page.prune("When was the tower finished?", kept, f"{kept} Bread is baked.")
    page.all("#more summary")[0].click()
    page.find("dedupe").click()
    page.until_pruned()
    assert reasons(page) == {kept: "duplicate"}
    page.find("reset").click()
    page.set(page.find("never_keep"), "March")
    page.until_pruned()
    assert page.asked()["never_keep"] == ["March"]
    assert reasons(page) == {kept: "never"}
    page.find("reset").click()
    page.prune("When was the tower finished?", kept, other)
    page.choose("mode", "max_tokens")
    page.enter("max_tokens", "10")
    page.until_pruned()
    assert set(reasons(page).values()) == {"budget"}


def test_options_are_part_of_the_request_and_can_be_reset(page: Page, client: httpx.Client) -> None:
    page.prune("When does it stop?", LOG)
    page.all("#more summary")[0].click()
    Select(page.find("keep_structure")).select_by_visible_text("Never")
    page.find("always_keep_errors").click()
    page.set(page.find("always_keep"), "re:09:0[02]\n\nstop")
    page.set(page.find("tail"), 1)
    page.set(page.find("gap_marker"), "[{lines} left out]")
    page.until_pruned()
    body = page.asked()
    del body["query"], body["passages"]
    assert body == {
        "keep_structure": False,
        "always_keep": ["errors", "re:09:0[02]", "stop"],
        "tail": 1,
        "gap_marker": "[{lines} left out]",
    }
    assert page.text("more-count") == "4 set"
    assert page.kept() == kept_by_server(client, **page.asked())
    page.choose("language", "python")
    assert '"keep_structure": False' in page.text("code")
    page.find("reset").click()
    page.until_pruned()
    assert set(page.asked()) == {"query", "passages"}
    assert page.text("more-count") == ""


def test_the_returned_text_is_shown_with_its_lines(page: Page, client: httpx.Client) -> None:
    page.prune("What went wrong?", LOG)
    page.set(page.find("threshold"), 1)
    page.set(page.find("gap_marker"), "[{lines} lines left out]")
    page.set(page.find("always_keep"), "start\nstop")
    page.until_pruned()
    page.choose("view", "text")
    result = client.post("/v1/prune", json=page.asked()).json()["results"][0]
    assert "lines left out]" in result["text"]
    assert page.all(".returned")[0].get_property("textContent") == result["text"]
    assert seen(page, ".line-spans") == ["Lines 1, 4"]
    assert not page.all("#ranking .units")[0].is_displayed()


def test_a_wrong_option_is_said_beside_its_field(page: Page) -> None:
    page.prune("What went wrong?", LOG)
    page.set(page.find("never_keep"), "re:(")
    page.until(lambda: "RE2" in page.text("never_keep-problem"))
    assert page.find("never_keep").is_displayed(), "the part with the options opens"
    page.set(page.find("never_keep"), "")
    page.set(page.find("gap_marker"), "{words}")
    page.until(lambda: "{words}" in page.text("gap_marker-problem"))
    assert page.text("never_keep-problem") == ""


def test_arrow_keys_skip_what_is_not_shown(page: Page) -> None:
    page.prune("How much is it on Monday?", HTML)
    page.driver.execute_script("document.querySelector('#ranking .piece[tabindex=\"0\"]').focus()")
    words = []
    for _ in range(4):
        words.append(page.driver.switch_to.active_element.text.split("\n")[0])
        press(page, Keys.ARROW_DOWN)
    assert words[0].startswith("Prices")
    assert words[3].startswith("Bring a coat")
    press(page, Keys.HOME)
    assert page.driver.switch_to.active_element.text.startswith("Prices")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("example", [3, 4, 5])
def test_structure_is_accessible(page: Page, scheme: str, example: int) -> None:
    page.open(scheme=scheme)
    page.load(example)
    page.all("#more summary")[0].click()
    page.set(page.find("neighbours"), 1)
    page.until_pruned()
    for prepare in (lambda: None, page.find("marks").click, lambda: page.choose("view", "kept")):
        prepare()
        page.driver.execute_script("document.getAnimations().forEach((animation) => animation.finish())")
        found = Axe().run(page.driver)["violations"]
        assert [(item["id"], [node["html"] for node in item["nodes"]]) for item in found] == []
    assert page.complaints() == []


@pytest.mark.parametrize("example", [3, 4, 5])
def test_structure_fits_a_phone(page: Page, example: int) -> None:
    page.open(width=320, height=740)
    page.load(example)
    page.all("#more summary")[0].click()
    page.set(page.find("neighbours"), 1)
    page.until_pruned()
    for prepare in (lambda: None, page.find("marks").click, lambda: page.choose("view", "text")):
        prepare()
        sizes = "const {scrollWidth, clientWidth} = document.documentElement; return [scrollWidth, clientWidth]"
        content, window = page.driver.execute_script(sizes)
        assert content == window


def test_many_units_are_drawn_in_a_moment(page: Page) -> None:
    script = """
        const done = arguments[0];
        const { draw, mark, preview } = await import("/playground/result.js");
        const sentence = "It was finished in 1889. ";
        const units = Array.from({ length: 100 }, (_, at) => ({
          start: at * sentence.length, end: (at + 1) * sentence.length, kind: "sentence", tokens: 7,
          score: at / 100, kept: at >= 50, reason: at >= 50 ? "score" : null,
        }));
        const text = sentence.repeat(100);
        const results = Array.from({ length: 200 }, (_, index) => ({
          index, units, text, score: 0.5, format: "text", kept_units: 50, total_units: 100, line_spans: [[1, 1]],
          empty: false,
        }));
        document.getElementById("found").hidden = false;
        const start = performance.now();
        draw(results, results.map(() => ({ text, title: "" })));
        mark(results);
        document.body.offsetHeight;
        const drawn = performance.now();
        preview(0.9);
        document.body.offsetHeight;
        done([drawn - start, performance.now() - drawn, document.querySelectorAll(".piece[data-kept=true]").length]);
    """
    drawn, moved, kept = page.driver.execute_async_script(f"(async () => {{{script}}}).apply(null, arguments)")
    assert kept == 200 * 10
    assert drawn < 5000
    assert moved < 1000
