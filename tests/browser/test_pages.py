"""`make site` in the browser, from files: complete, without a network, readable for everyone.

(axe-core finds nothing serious.) One lesson has its frames: its live figure moves without Python.
"""

import html
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fontTools.ttLib import TTFont

from lesson import ROOT

MOVING = "05_nonexpansive_layers"
PAGES = ["index", "reference", "instructors"]
NOTEBOOKS = ROOT / "notebooks"
NAMES = [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("coursework/*.ipynb")]
PAGES += sorted(str(path.relative_to(NOTEBOOKS).with_suffix("")) for path in NAMES)
WINDOWS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`make site` with the frames of one lesson, by the Python that runs this test."""
    folder = tmp_path_factory.mktemp("pages") / "site"
    python = [f"BIN={Path(sys.executable).parent}", "READY="]
    command = ["make", "site", f"LIVE={MOVING}", f"SITE={folder}", *python]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Visit:
    """A page opened from a file; requests that left or failed; what was written to the console."""

    def __init__(self, browser, path, scheme="light"):
        self.trouble = []
        self.page = browser.new_page()
        self.page.set_viewport_size(WINDOWS["desk"])
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("requestfailed", lambda request: self.trouble.append(request.url[:100]))
        self.page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or self.trouble.append(request.url)
            ),
        )
        self.page.goto(path.as_uri())

    def hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(message.text)

    def violations(self) -> list[str]:
        found = Axe().run(self.page).response["violations"]
        return [
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in found
            if v["impact"] in ("serious", "critical")
        ]

    def broken(self) -> list[str]:
        """Pictures that did not load, links to no place of this page, formulas left as TeX."""
        look = """() => [
            ...[...document.querySelectorAll('main img')]
                .filter(i => !i.complete || !i.naturalWidth || !i.alt.trim())
                .map(i => 'picture ' + i.alt),
            ...[...document.querySelectorAll('a[href^="#"]')]
                .map(a => decodeURIComponent(a.hash.slice(1)))
                .filter(name => name && !document.getElementById(name))
                .map(name => 'anchor ' + name),
            ...[...document.querySelectorAll(
                    'merror, [mathvariant]:not([mathvariant=normal], [mathvariant=monospace])'
                )]
                .map(e => 'formula ' + e.textContent),
        ]"""
        return self.page.evaluate(look)

    def is_wider_than_the_window(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")

    def screenshot(self, name: str) -> None:
        path = ROOT / "build" / "screenshots" / f"page_{name.replace('/', '_')}.png"
        self.page.screenshot(path=path, full_page=False)


@pytest.mark.parametrize("name", PAGES)
def test_page(browser, folder, name):
    visit = Visit(browser, folder / f"{name}.html")
    assert visit.trouble == [] and visit.broken() == [] and visit.violations() == []
    levels = visit.page.locator("article :is(h1, h2, h3, h4, h5, h6)").evaluate_all(
        "all => all.map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    prose = visit.page.locator("article :is(p, li, td, summary, h1, h2, h3, h4)").all_inner_texts()
    assert not [text for text in prose if "$" in text or "](" in text], "not converted"
    if name.startswith("0") and name != "00_symbols":
        assert visit.page.locator("math").count() > 20
        assert visit.page.locator("figure img").count() >= 3
    visit.screenshot(f"{name}_light")
    visit.page.emulate_media(color_scheme="dark")
    assert visit.violations() == [], "in the dark"
    visit.screenshot(f"{name}_dark")
    visit.page.set_viewport_size(WINDOWS["phone"])
    assert not visit.is_wider_than_the_window(), "too wide for a phone"
    visit.screenshot(f"{name}_phone")
    visit.page.emulate_media(media="print")
    visit.page.set_viewport_size({"width": 720, "height": 1000})  # A4 with margins
    assert not visit.is_wider_than_the_window(), "too wide for paper"
    visit.page.close()


def test_a_live_figure_moves_by_keys_and_by_touch_without_python(browser, folder):
    visit = Visit(browser, folder / f"{MOVING}.html")
    figure = visit.page.locator(".live-figure").first
    slider = figure.locator("input[type=range]")
    assert slider.evaluate("input => input.labels[0].innerText").startswith("step c")

    def state():
        picture = figure.locator("img")
        visit.page.wait_for_function("image => image.complete", arg=picture.element_handle())
        sentence = figure.locator("p[aria-live=polite]").inner_text()
        assert picture.get_attribute("alt") == sentence
        assert f"c = {float(slider.get_attribute('aria-valuetext')):.1f} " in sentence
        return picture.get_attribute("src"), sentence

    first = state()
    assert "c = 1.0 " in first[1]
    slider.press("ArrowRight")
    assert "c = 1.1 " in state()[1] and state()[0] != first[0]
    slider.press("ArrowLeft")
    assert state() == first
    visit.page.set_viewport_size(WINDOWS["phone"])
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    touch = visit.page.context.new_cdp_session(visit.page)
    point = {"x": box["x"] + box["width"] - 3, "y": box["y"] + box["height"] / 2}
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    visit.page.wait_for_function(
        "slider => slider.value === slider.max", arg=slider.element_handle()
    )
    assert "c = 3.0 " in state()[1]
    visit.screenshot("live_phone")
    assert visit.trouble == []
    visit.page.close()


def test_formulas_have_a_font_with_all_their_characters(browser, folder):
    """Without one, indices stand on the line: phones have none of their own."""
    font = TTFont(folder / "_static" / "math.woff")
    used = set()
    for path in folder.rglob("*.html"):
        for formula in re.findall(r"<math.*?</math>", path.read_text(), re.DOTALL):
            used |= set(html.unescape(re.sub("<[^>]*>", "", formula)))
    assert len(used) > 100 and used <= set(map(chr, font.getBestCmap())) and "MATH" in font
    visit = Visit(browser, folder / f"{MOVING}.html")
    look = "document.fonts.ready.then(() => document.fonts.check('12px \"Page Math\"'))"
    assert visit.page.evaluate(look)
    visit.page.close()


def test_search_finds_a_word_without_a_network(browser, folder):
    visit = Visit(browser, folder / "search.html")
    visit.page.goto(f"{(folder / 'search.html').as_uri()}?q=averaged")
    found = visit.page.locator("ul.search li a")
    found.first.wait_for()
    assert any("Non-expansive layers" in text for text in found.all_inner_texts())
    assert visit.trouble == [] and visit.violations() == []
    visit.screenshot("found")
    visit.page.close()


def test_links_lead_to_what_they_name(browser, folder):
    """From a lesson to a section of another and to its exercises; from exercises to a claim."""
    visit = Visit(browser, folder / "index.html")
    for page, name, kind in (
        ("07_adversarial_robustness", "Section 3.7", "h2"),
        (MOVING, "Exercise 5.1", "h2"),
        ("coursework/08_structure_preservation", "Claim 5.4", "strong"),
    ):
        visit.page.goto((folder / f"{page}.html").as_uri())
        link = visit.page.locator("article").get_by_role("link", name=name, exact=True)
        visit.page.goto(link.first.evaluate("link => link.href"))
        found = visit.page.locator(":target").locator(kind).first.inner_text()
        assert found.startswith(name.removeprefix("Section "))
    visit.page.close()


def test_pages_of_the_site_exist_wherever_one_links_to_them(browser, folder):
    visit = Visit(browser, folder / "index.html")
    seen = set()
    for path in folder.rglob("*.html"):
        visit.page.goto(path.as_uri())
        hrefs = visit.page.locator("a").evaluate_all(
            "links => links.map(a => a.getAttribute('href'))"
        )
        local = {href.split("#")[0] for href in hrefs if href and ":" not in href}
        missing = [href for href in local if href and not (path.parent / href).exists()]
        assert missing == [], path.name
        seen |= local
    assert len(seen) > 20
    visit.page.close()


def test_a_bad_page_is_noticed(browser, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<html><head><title>t</title></head><body><main><h1>t</h1>"
        "<img src='gone.png'><a href='#gone'>y</a>"
        "<img alt='far' src='http://192.0.2.1/x.png'><input><p style='color:#ccc'>pale</p>"
        "<div style='width: 3000px'>wide</div></main></body></html>"
    )
    visit = Visit(browser, tmp_path / "bad.html")
    assert any("gone.png" in text for text in visit.trouble) and any(
        "192.0.2.1" in text for text in visit.trouble
    )
    assert {"picture ", "anchor gone"} <= set(visit.broken())
    assert visit.is_wider_than_the_window()
    found = " ".join(visit.violations())
    for rule in ("image-alt", "label", "color-contrast", "html-has-lang"):
        assert f"{rule}:" in found
    visit.page.close()
