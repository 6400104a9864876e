"""From nothing to the first moving picture, as a new student.

    python benchmarks/first_minute.py [--keep FOLDER]

Clone, `make lab`, open lesson 1, Run All, press a key on a slider. Prints the seconds since the
start at each milestone, for the first visit and for the second one, when all is installed. Needs
Chromium and playwright, as the browser tests do, and whatever `make lab` needs (a package index,
6 GB of disk). What pip has cached makes it faster: `PIP_NO_CACHE_DIR=1` for an honest first visit.
JupyterLab's settings are those of a new user.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
LESSON = "01_flows_and_stability"
PATIENCE = 120_000  # milliseconds


class Clock:
    """Prints the seconds since it was made at each milestone."""

    def __init__(self):
        self.start = time.monotonic()

    def reached(self, milestone: str) -> None:
        print(f"{time.monotonic() - self.start:7.1f} s  {milestone}", flush=True)


def visit(course: Path, home: Path, chromium: str, clock: Clock) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "VIRTUAL_ENV"))
    }
    environment |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
    server = subprocess.Popen(
        ["make", "lab"],
        cwd=course,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        address, token = announced(server)
        clock.reached("JupyterLab has started")
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            page.set_default_timeout(PATIENCE)
            page.goto(f"{address}/lab/tree/{LESSON}.ipynb?token={token}")
            run_and_move(page, clock)
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def announced(server: subprocess.Popen) -> tuple[str, str]:
    """JupyterLab's address and token, as soon as it prints them."""
    told = []
    for line in server.stdout:
        told.append(line)
        found = re.search(r"(http://(?:localhost|127\.0\.0\.1):\d+)/lab\?token=(\w+)", line)
        if found:
            return found[1], found[2]
    sys.exit("make lab ended:\n" + "".join(told[-20:]))


def run_and_move(page: Page, clock: Clock) -> None:
    """Run the lesson and press a key on its first slider."""
    page.get_by_role("heading", level=1).first.wait_for()
    clock.reached("lesson 1 is on the screen")
    state = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
    page.wait_for_function(f"{state} === 'idle'")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    picture = page.locator(".widget-html img")
    box = page.locator(".jp-OutputArea-output .widget-vbox", has=picture).first
    box.wait_for(state="attached")
    clock.reached("the first live figure is there")
    slider = box.locator("[role=slider]").first
    before = box.locator(".widget-html img").get_attribute("src")
    slider.scroll_into_view_if_needed()
    slider.press("ArrowRight")
    moved = "([box, src]) => box.querySelector('.widget-html img').src !== src"
    page.wait_for_function(moved, arg=[box.element_handle(), before], polling=30)
    clock.reached("and has moved")


def chromium_of(parser: argparse.ArgumentParser) -> str:
    named = os.environ.get("CHROMIUM")
    chromium = named or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        how = "apt install chromium, or name one with CHROMIUM=/path/to/chrome"
        parser.error(f"no Chromium was found: {how}")
    return chromium


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kept = "folder for the clone, which is kept; a temporary one without"
    parser.add_argument("--keep", type=Path, help=kept)
    options = parser.parse_args()
    chromium = chromium_of(parser)
    if options.keep and options.keep.exists():
        parser.error(f"{options.keep} exists already")
    with tempfile.TemporaryDirectory() as temporary:
        course = options.keep or Path(temporary) / "course"
        home = Path(temporary) / "home"
        home.mkdir()
        print("first visit")
        clock = Clock()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(course)], check=True)
        clock.reached("cloned")
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["make", "venv"], cwd=course, check=True, **silent)
        clock.reached("installed")
        visit(course, home, chromium, clock)
        print("second visit")
        visit(course, home, chromium, Clock())


if __name__ == "__main__":
    main()
