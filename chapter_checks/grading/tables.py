"""What comes out of grading: grades.csv and a page for every student, safe to open."""

import csv
import io
import os
import unicodedata
from pathlib import Path

from ..engine import find
from .files import page_name, shown

NOT_GRADED = "not graded"
FORMULA = tuple("=+-@\t\r\n")  # how a cell begins that a spreadsheet computes
# Nothing that a stranger wrote is a tag, a link, a picture, a mention or code on a page.
MARKDOWN = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "@": "&#64;",
        **{char: f"\\{char}" for char in "\\`*[]|$"},
    }
)


def cell(text: str) -> str:
    """A cell of the table which is a text for every spreadsheet."""
    text = shown(text)
    first = unicodedata.normalize("NFKC", text.lstrip())
    return f"'{text}" if first.startswith(FORMULA) else text


def in_markdown(text: str) -> str:
    escaped = shown(text).translate(MARKDOWN)
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")


def points(result: dict) -> int:
    return sum(find(number).points for number, (passed, _) in result["verdicts"].items() if passed)


def is_graded(result: dict) -> bool:
    """Whether nothing failed that is not the student's."""
    return not result.get("problem") and None not in [
        passed for passed, _ in result["verdicts"].values()
    ]


def notes_of(results: list[dict]) -> list[str]:
    """All notes, without repetition; first why something is not graded."""
    problems = [
        f"{NOT_GRADED}: {result['problem']}; the next run tries it again"
        for result in results
        if result.get("problem")
    ]
    return list(dict.fromkeys(problems + [note for r in results for note in r["notes"]]))


def all_verdicts(results: list[dict]) -> dict[str, tuple[bool | None, str]]:
    verdicts = {}
    for result in results:
        verdicts |= result["verdicts"]
    return verdicts


def points_for(number: str, passed: bool | None) -> int | str:
    return NOT_GRADED if passed is None else find(number).points * passed


def feedback(student: str, results: list[dict]) -> str:
    """The student's page, in Markdown."""
    verdicts = all_verdicts(results)
    of = sum(find(number).points for number in verdicts)
    title = f"{sum(map(points, results))} of {of} points" if of else "nothing could be graded"
    if not all(map(is_graded, results)):
        title = f"not graded yet, or not all of it ({title})" if of else "not graded yet"
    lines = [f"# {in_markdown(student)}: {title}", ""]
    for number, (passed, line) in verdicts.items():
        gained = points_for(number, passed)
        lines.append(f"- **{number} {find(number).title}**: {gained} of {find(number).points}")
        if line:
            lines[-1] += f"  \n  {in_markdown(line)}"
    lines += ["", *(f"Note: {in_markdown(note)}.  " for note in notes_of(results))]
    return "\n".join(lines).rstrip() + "\n"


def table(results: dict[str, list[dict]]) -> list[list]:
    """The rows of grades.csv: one a student, one column an exercise."""
    numbers = sorted(
        all_verdicts([result for mine in results.values() for result in mine]),
        key=lambda number: [int(part) for part in number.split(".")],
    )
    rows = [["student", *numbers, "total", "of", "notes"]]
    for student, mine in sorted(results.items()):
        verdicts = all_verdicts(mine)
        row = dict.fromkeys(numbers, "")
        for number, (passed, _) in verdicts.items():
            row[number] = points_for(number, passed)
        known = [passed for passed, _ in verdicts.values() if passed is not None]
        total = sum(map(points, mine))
        if not known and not all(map(is_graded, mine)):
            total = NOT_GRADED
        of = sum(find(number).points for number in verdicts) or ""
        rows.append([cell(student), *row.values(), total, of, cell("; ".join(notes_of(mine)))])
    return rows


def write_whole(path: Path, text: str) -> None:
    """Write a file at once, so that an interruption leaves the old one or the new one."""
    unfinished = path.with_name(f".{path.name[:100]}-{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8", newline="")
    unfinished.replace(path)


def write(out: Path, results: dict[str, list[dict]]) -> None:
    """grades.csv and the pages."""
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text).writerows(table(results))
    write_whole(out / "grades.csv", text.getvalue())
    for student, mine in results.items():
        page = out / "feedback" / page_name(student, list(results))
        write_whole(page, feedback(student, mine))
