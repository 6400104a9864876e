"""From nothing to the first moving picture, as a new student: clone, `make lab`, open lesson 1, Run All, press a key on a slider.

    python benchmarks/first_minute.py [--keep FOLDER]

Prints the seconds since the start at each milestone, for the first visit and for the second one, when all is installed.
Needs Chromium and playwright, as the browser tests do, and whatever `make lab` needs (a package index, 6 GB of disk). What pip has
cached makes it faster: `PIP_NO_CACHE_DIR=1` for an honest first visit. JupyterLab's settings are those of a new user.
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

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
LESSON = "01_flows_and_stability"
PATIENCE = 120_000  # milliseconds


def visit(course: Path, home: Path, chromium: str, start: float) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "VIRTUAL_ENV"))
    }
    environment |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython")}

    def reached(milestone: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s  {milestone}", flush=True)

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
        told = []
        for line in server.stdout:
            told.append(line)
            if found := re.search(
                r"(http://(?:localhost|127\.0\.0\.1):\d+)/lab\?token=(\w+)", line
            ):
                break
        else:
            sys.exit("make lab ended:\n" + "".join(told[-20:]))
        reached("JupyterLab has started")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            page.set_default_timeout(PATIENCE)
            page.goto(f"{found[1]}/lab/tree/{LESSON}.ipynb?token={found[2]}")
            page.get_by_role("heading", level=1).first.wait_for()
            reached("lesson 1 is on the screen")
            page.wait_for_function(
                "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"
            )
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            box = page.locator(
                ".jp-OutputArea-output .widget-vbox", has=page.locator(".widget-html img")
            ).first
            box.wait_for(state="attached")
            reached("the first live figure is there")
            slider, before = (
                box.locator("[role=slider]").first,
                box.locator(".widget-html img").get_attribute("src"),
            )
            slider.scroll_into_view_if_needed()
            slider.press("ArrowRight")
            moved = "([box, src]) => box.querySelector('.widget-html img').src !== src"
            page.wait_for_function(moved, arg=[box.element_handle(), before], polling=30)
            reached("and has moved")
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--keep", type=Path, help="folder for the clone, which is kept; a temporary one without"
    )
    options = parser.parse_args()
    chromium = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    if not chromium:
        parser.error(
            "no Chromium was found: apt install chromium, or name one with CHROMIUM=/path/to/chrome"
        )
    if options.keep and options.keep.exists():
        parser.error(f"{options.keep} exists already")
    with tempfile.TemporaryDirectory() as temporary:
        course = options.keep or Path(temporary) / "course"
        home = Path(temporary) / "home"
        home.mkdir()
        start = time.monotonic()
        print("first visit")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(course)], check=True)
        print(f"{time.monotonic() - start:7.1f} s  cloned", flush=True)
        subprocess.run(
            ["make", "venv"],
            cwd=course,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        print(f"{time.monotonic() - start:7.1f} s  installed", flush=True)
        visit(course, home, chromium, start)
        print("second visit")
        visit(course, home, chromium, time.monotonic())


if __name__ == "__main__":
    main()
