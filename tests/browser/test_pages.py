"""`make html` in the browser: complete, without a network, and readable for everyone.

(axe-core finds nothing serious.)
"""

import itertools
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe

import build
from lesson import ROOT

NAMES = ["index", *sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["build.py", "--html", str(folder)])
        assert build.main() == 0
    return folder


class Visit:
    """A page opened from a file; requests that left or failed; what was written to the console."""

    def __init__(self, browser, path):
        self.trouble = []
        self.page = browser.new_page()
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("requestfailed", lambda request: self.trouble.append(request.url[:100]))
        self.page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or self.trouble.append(request.url)
            ),
        )
        self.page.goto(path.as_uri())

    def violations(self) -> list[str]:
        found = Axe().run(self.page).response["violations"]
        return [
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in found
            if v["impact"] in ("serious", "critical")
        ]

    def broken(self, folder) -> list[str]:
        """Pictures that did not load, links to what is not there, formulas left as TeX."""
        look = """() => [
            ...[...document.images]
                .filter(i => !i.complete || !i.naturalWidth || !i.alt.trim())
                .map(i => 'picture ' + i.alt),
            ...[...document.querySelectorAll('a[href^="#"]')]
                .map(a => a.hash.slice(1)).map(decodeURIComponent)
                .filter(name => !document.getElementById(name)).map(name => 'anchor ' + name),
            ...[...document.querySelectorAll(
                    'merror, [mathvariant]:not([mathvariant=normal], [mathvariant=monospace])'
                )]
                .map(e => 'formula ' + e.textContent),
        ]"""
        found = self.page.evaluate(look)
        hrefs = self.page.locator("a").evaluate_all(
            "links => links.map(a => a.getAttribute('href'))"
        )
        local = [
            href.split("#")[0] for href in hrefs if href and not href.startswith(("http", "#"))
        ]
        return found + [f"link {name}" for name in local if not (folder / name).exists()]


@pytest.mark.parametrize("name", NAMES)
def test_page(browser, folder, name):
    visit = Visit(browser, folder / f"{name}.html")
    assert visit.trouble == [] and visit.broken(folder) == [] and visit.violations() == []
    levels = visit.page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
        "all => all.map(h => Number(h.tagName[1]))"
    )
    assert (
        levels[0] == 1
        and levels.count(1) == 1
        and all(b <= a + 1 for a, b in itertools.pairwise(levels))
    )
    prose = visit.page.locator("p, li, td, h1, h2, h3, h4").all_inner_texts()
    assert not [text for text in prose if "$" in text], "a formula was not converted"
    if name not in ("index", "00_symbols"):
        assert (
            visit.page.locator("math").count() > 20
            and visit.page.locator("figure img").count() >= 3
        )
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    visit.page.screenshot(path=ROOT / "build" / "screenshots" / f"page_{name}.png", full_page=False)
    visit.page.emulate_media(media="print")
    visit.page.set_viewport_size({"width": 720, "height": 1000})  # A4 with margins
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "too wide for paper"
    )
    visit.page.close()


def test_a_bad_page_is_noticed(browser, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<html><head><title>t</title></head><body><main><h1>t</h1>"
        "<img src='gone.png'><a href='gone.html'>x</a><a href='#gone'>y</a>"
        "<img alt='far' src='http://192.0.2.1/x.png'><input><p style='color:#ccc'>pale</p>"
        "</main></body></html>"
    )
    visit = Visit(browser, tmp_path / "bad.html")
    assert any("gone.png" in text for text in visit.trouble) and any(
        "192.0.2.1" in text for text in visit.trouble
    )
    assert {"picture ", "anchor gone", "link gone.html"} <= set(visit.broken(tmp_path))
    found = " ".join(visit.violations())
    for rule in ("image-alt", "label", "color-contrast", "html-has-lang"):
        assert f"{rule}:" in found
    visit.page.close()
