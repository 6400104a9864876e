"""Where "Section 5.2", "Claim 5.2" and "Exercise 5.2" are: links to other notebooks."""

import functools
import itertools
import os
import re
from pathlib import Path
from typing import Callable
from urllib.parse import quote

import jupytext

from chapter_checks.engine import find

SOURCE = Path(__file__).resolve().parent
NAMED = re.compile(r"(?<![\w\[])(Section|Claim|Exercise) (\d+\.\d+)\b(?![^\[\]]*\]\()")
SECTION = re.compile(r"^## (\d+\.\d+) (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([\w./]+\.ipynb)(#[^)]*)?\)")
CLAIM = re.compile(r"\*\*Claim (\d+\.\d+) \(")


def anchor(heading: str) -> str:
    """What Jupyter calls a heading; "" if it holds a formula, which changes when it is drawn."""
    return "" if re.search(r"[$`*]", heading) else "#" + quote(heading.replace(" ", "-"))


@functools.cache
def places() -> dict[str, tuple[str, str]]:
    """By name, "Claim 5.2", the notebook (without ending) and the heading that it is below."""
    found = {}
    for path in sorted((SOURCE / "lessons").glob("[0-9][0-9]_*.py")):
        below = ""
        for cell in jupytext.read(path, fmt="py:percent").cells:
            if cell.cell_type != "markdown":
                continue
            for line in cell.source.splitlines():
                if section := SECTION.match(line):
                    below = anchor(line.removeprefix("## "))
                    found[f"Section {section[1]}"] = (path.stem, below)
                if claim := CLAIM.search(line):
                    found[f"Claim {claim[1]}"] = (path.stem, below)
    for path in sorted((SOURCE / "coursework").glob("[0-9][0-9]_*.py")):
        for number in re.findall(r"^# ## Exercise (\d+\.\d+)$", path.read_text("utf-8"), re.M):
            heading = anchor(f"Exercise {number}: {find(number).title}")
            found[f"Exercise {number}"] = (f"coursework/{path.stem}", heading)
    return found


def linked(text: str, here: str) -> str:
    """Markdown of the notebook `here` ("coursework/05_x") with links to what is elsewhere."""

    def link(match: re.Match) -> str:
        notebook, heading = places().get(match[0], (here, ""))
        if notebook == here:
            return match[0]
        file = os.path.relpath(f"{notebook}.ipynb", os.path.dirname(here) or ".")
        return f"[{match[0]}]({file}{heading})"

    return outside_code(text, lambda prose: NAMED.sub(link, prose))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Markdown with everything changed but code, headings and summaries, where no link works."""
    kept = r"(```.*?```|`[^`]*`|^#[^\n]*$|<summary>.*?</summary>)"
    code = re.split(kept, text, flags=re.DOTALL | re.MULTILINE)
    pairs = itertools.zip_longest(code[::2], code[1::2], fillvalue="")
    return "".join(change(prose) + kept for prose, kept in pairs)
