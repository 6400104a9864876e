"""How long a lesson takes: a formula, so that nobody has to guess.

Counted is the core path: everything but what is folded, what stands under a heading with a star
(★), and the references.
"""

import re
from collections.abc import Iterable

from nbformat import NotebookNode

MINUTES = {"prediction": 2, "live figure": 2, "your turn": 5, "claim": 1}
WORDS_A_MINUTE = 120  # prose with formulas: with 180 readers needed a third more than stated
CODE_LINES_A_MINUTE = 25
PATTERNS = {
    "prediction": re.compile(r"\*\*Predict first\.\*\*"),
    "live figure": re.compile(r"^live_\w+$", re.MULTILINE),
    "your turn": re.compile(r"^your_turn\(", re.MULTILINE),
    "claim": re.compile(r"\*\*Claim \d+\.\d+ \("),
}
HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)


def core(cells: list[NotebookNode]) -> list[tuple[str, str]]:
    """(kind of cell, text) on the core path."""
    kept = []
    skipped = 0  # level of the heading whose part is left out
    for cell in cells:
        if cell.cell_type != "markdown":
            if not skipped:
                kept.append(("hidden" if is_hidden(cell) else "code", cell.source))
            continue
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)
        for part in re.split(r"^(?=#+ )", text, flags=re.MULTILINE):
            if heading := HEADING.match(part):
                level = len(heading[1])
                if not skipped or level <= skipped:
                    skipped = level if "★" in heading[2] or heading[2] == "References" else 0
            if not skipped and part.strip():
                kept.append(("markdown", part))
    return kept


def words(cells: list[NotebookNode]) -> int:
    """Words of prose on the core path; the targets of links are not read."""
    prose = " ".join(text for kind, text in core(cells) if kind == "markdown")
    return len(re.sub(r"\]\([^)]*\)", "]", prose).split())


def counts(cells: list[NotebookNode]) -> dict[str, int]:
    """How many predictions, live figures, cells to write in and claims are on the core path."""
    text = "\n".join(text for _, text in core(cells))
    return {name: len(pattern.findall(text)) for name, pattern in PATTERNS.items()}


def minutes(cells: list[NotebookNode]) -> int:
    """The time that the lesson states, in steps of five minutes."""
    doing = sum(MINUTES[name] * count for name, count in counts(cells).items())
    code = lines_of_code(text for kind, text in core(cells) if kind == "code")
    reading = words(cells) / WORDS_A_MINUTE + code / CODE_LINES_A_MINUTE
    return 5 * round((reading + doing) / 5)


def code_lines(cells: list[NotebookNode]) -> int:
    """Lines of code that the whole lesson shows."""
    return lines_of_code(
        cell.source for cell in cells if cell.cell_type == "code" and not is_hidden(cell)
    )


def is_hidden(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def lines_of_code(texts: Iterable[str]) -> int:
    """Neither blank nor comment."""
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return sum(bool(line) and not line.startswith("#") for line in lines)
