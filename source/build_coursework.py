"""Coursework: source/coursework/NN_topic.py  ->  coursework/NN_topic.ipynb (blank), solutions/NN_topic.ipynb (solved)

    python source/build_coursework.py                  write both versions of every coursework notebook
    python source/build_coursework.py 02 05            the same for these lessons only
    python source/build_coursework.py --check          exit 1 if a committed notebook is not the one its source describes
    python source/build_coursework.py --release FILE   write what students receive as a zip file: no solutions, no sources of them,
                                                          README.md and Makefile from source/student

A cell tagged "answer:2.1" holds the answer, its solution between ### BEGIN SOLUTION and ### END SOLUTION. The build puts the
check cell after it, and title, points and minutes behind the heading "## Exercise 2.1". Nothing is executed, and the same source
gives the same bytes.
"""

import argparse
import copy
import re
import sys
import zipfile
from pathlib import Path

import jupytext
import nbformat

import build
from chapter_checks.engine import EXERCISES, PASSED, find

SOURCE = build.SOURCE / "coursework"
TARGETS = {"blank": build.NOTEBOOKS / "coursework", "solved": build.NOTEBOOKS / "solutions"}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HOW = """**How it works.** Write each answer in its cell, then run the check cell below it. A check says *not started*, *not passed yet* with a hint, or *passed*.
It calls your functions on many random inputs, so there is more than one right way to write them. "Run all" stops at the first exercise
that is not passed; the cell after each check shows what your answer is good for, once it is there."""
STUDENT_FILES = [
    "LICENSE", "CITATION.cff", "pyproject.toml", "requirements.txt", "environment.yml", "binder/*",
    "chapter_utils/**/*.py", "chapter_utils/*.mplstyle", "chapter_checks/**/*.py", "notebooks/*.ipynb", "notebooks/figures/*", "notebooks/coursework/*.ipynb",
    "benchmarks/*.py", "benchmarks/results/*",
]  # fmt: skip


def answer(text: str, number: str, solved: bool) -> str:
    """The answer cell with the solution regions, or with what students find there: their `#> ` lines, or else a stub."""
    lines, region, indent = [], None, ""
    for line in text.splitlines():
        mark = line.strip()
        if mark == BEGIN and region is None:
            region, indent = [], line[: line.index(mark)]
        elif mark == END and region is not None:
            stub = [f'{indent}raise NotImplementedError("Exercise {number}")  # replace this line']
            given = [
                indent + entry.strip()[3:] for entry in region if entry.strip().startswith("#> ")
            ]
            lines += (
                [entry for entry in region if not entry.strip().startswith("#> ")]
                if solved
                else given or stub
            )
            region = None
        elif mark in (BEGIN, END):
            raise ValueError(f"exercise {number}: {mark} at a wrong place")
        else:
            (lines if region is None else region).append(line)
    if region is not None or BEGIN not in text:
        raise ValueError(f"exercise {number}: {BEGIN} without {END}, or no solution at all")
    return "\n".join(lines)


def check_cell(number: str, solved: bool) -> nbformat.NotebookNode:
    """The check, with the verdict that nbval compares in the solved version."""
    cell = nbformat.v4.new_code_cell(f'check("{number}")')
    cell.metadata = nbformat.from_dict(
        {"deletable": False, "editable": False, "tags": [f"check:{number}"]}
    )
    if solved:
        cell.metadata.tags.append("nbval-check-output")
        cell.execution_count = 1  # nbval compares only cells that have been run
        cell.outputs = [
            nbformat.v4.new_output("stream", name="stdout", text=f"Exercise {number}: {PASSED}\n")
        ]
    return cell


def text_of(cell: nbformat.NotebookNode, path: Path, first: bool, solved: bool) -> str:
    """A markdown cell with what the build knows better."""
    if first:
        title, _, rest = cell.source.partition("\n")
        mine = [
            EXERCISES[number]
            for number in sorted(EXERCISES)
            if number.split(".")[0] == str(int(path.stem[:2]))
        ]
        sums = (
            f"{sum(e.points for e in mine)} points, about {sum(e.minutes for e in mine)} minutes."
        )
        head = (
            f"{title} (solved)"
            if solved
            else f"{title}\n\n{build.links(f'coursework/{path.stem}')}"
        )
        return f"{head}\n{rest}\n\n**In all:** {sums}\n\n{HOW}"

    def heading(match: re.Match) -> str:
        e = find(match[1])
        return f"## Exercise {e.number}: {e.title}\n\n*{e.points} point{'s' * (e.points > 1)}, {e.minutes} minutes*"

    return re.sub(r"^## Exercise (\d+\.\d+)$", heading, cell.source, flags=re.M)


def generate(path: Path, version: str) -> nbformat.NotebookNode:
    """The notebook of that version, "blank" or "solved"."""
    solved, cells, done = version == "solved", [], []
    source = jupytext.read(path, fmt="py:percent").cells
    asked = [
        number
        for cell in source
        for number in re.findall(r"^## Exercise (\d+\.\d+)$", cell.source, re.M)
    ]
    for number in asked:
        find(number)
    for place, cell in enumerate(source):
        tags = cell.metadata.get("tags", [])
        number = next(
            (tag.removeprefix("answer:") for tag in tags if tag.startswith("answer:")), None
        )
        if cell.cell_type == "markdown":
            new = nbformat.v4.new_markdown_cell(text_of(cell, path, place == 0, solved))
        elif "setup" in tags:
            setup = (build.SOURCE / "setup_cell.py").read_text(encoding="utf-8").strip()
            new = nbformat.v4.new_code_cell(setup)
            new.metadata = nbformat.from_dict({"jupyter": {"source_hidden": True}, "tags": tags})
        else:
            new = nbformat.v4.new_code_cell(
                answer(cell.source, number, solved) if number else cell.source
            )
            if number is None and (BEGIN in cell.source or END in cell.source):
                raise ValueError(f"{path.name}: a solution outside an answer cell")
            if tags:
                new.metadata = nbformat.from_dict({"tags": tags})
        new.id = f"answer-{number.replace('.', '-')}" if number else f"c{path.stem[:2]}-{place:03d}"
        cells.append(new)
        if number:
            done.append(number)
            cells.append(check_cell(number, solved))
            cells[-1].id = f"check-{number.replace('.', '-')}"
    if asked != done:
        raise ValueError(
            f"{path.name}: the headings are {', '.join(asked)}, the answer cells {', '.join(done)}"
        )
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(build.METADATA))
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def sources() -> list[Path]:
    return sorted(SOURCE.glob("[0-9][0-9]_*.py"))


def student_files() -> dict[str, Path]:
    """What students receive, by name: a list of what is allowed, so that nothing slips through."""
    root = build.ROOT
    found = {path for pattern in STUDENT_FILES for path in root.glob(pattern) if path.is_file()}
    files = {path.relative_to(root).as_posix(): path for path in found}
    files |= {name: build.SOURCE / "student" / name for name in ("README.md", "Makefile")}
    return dict(sorted(files.items()))


def release(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, path in student_files().items():
            bundle.write(path, f"course/{name}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", help="lessons, such as 05; all if none is given")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--release", type=Path, metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.numbers) - {path.stem[:2] for path in sources()}:
        parser.error(f"no coursework is numbered {' or '.join(sorted(unknown))}")
    if options.numbers and options.release:
        parser.error("--release packs all lessons; leave the numbers out")
    stale = 0
    for path in sources():
        if options.numbers and path.stem[:2] not in options.numbers:
            continue
        for version, folder in TARGETS.items():
            text, target = (
                nbformat.writes(generate(path, version)) + "\n",
                folder / f"{path.stem}.ipynb",
            )
            if target.exists() and target.read_text(encoding="utf-8") == text:
                continue
            if options.check or options.release:
                stale += 1
                print(
                    f"{target.relative_to(build.NOTEBOOKS)}: older than its source; run make notebooks"
                )
            else:
                folder.mkdir(exist_ok=True)
                target.write_text(text, encoding="utf-8")
                print(f"{target.relative_to(build.NOTEBOOKS)}: written")
    if options.release and not stale:
        release(options.release)
        print(f"{options.release}: what students receive")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
