"""Coursework: source/coursework/NN_topic.py -> notebooks/coursework/NN_topic.ipynb, blank,
                                             and notebooks/solutions/NN_topic.ipynb, solved.

    python source/build_coursework.py          write both versions of every coursework notebook
    python source/build_coursework.py 02 05    the same for these lessons only
    python source/build_coursework.py --check  exit 1 if a stored notebook is not what its source
                                               describes
    python source/build_coursework.py --release FILE
                                               write what students receive as a zip file: no
                                               solutions, no sources of them, README.md and
                                               Makefile from source/student

A cell tagged "answer:2.1" holds the answer (blanks.py). The build puts the check cell after it, and
title, points and minutes behind the heading "## Exercise 2.1". Nothing is executed, and the same
source gives the same bytes.
"""

import argparse
import ast
import itertools
import re
import sys
import zipfile
from pathlib import Path

import jupytext
import nbformat
import record

import build
import references
from blanks import BEGIN, END, answer
from chapter_checks.engine import PASSED, called, find

SOURCE = build.SOURCE / "coursework"
TARGETS = {"blank": build.NOTEBOOKS / "coursework", "solved": build.NOTEBOOKS / "solutions"}
HEADING = re.compile(r"^## Exercise (\d+\.\d+)$", re.MULTILINE)
HOW = """**How it works.** Write each answer in its cell, then run the check cell below it.
A check says *not started*, *not passed yet* with a hint, or *passed*.
It calls your functions on many random inputs, so there is more than one right way to write them.
"Run all" stops at the first exercise that is not passed; the cell after each check shows what your
answer is good for, once it is there."""
STUDENT_FILES = (
    "LICENSE",
    "CITATION.cff",
    "pyproject.toml",
    "requirements.txt",
    "versions.txt",
    "environment.yml",
    "binder/*",
    "chapter_utils/**/*.py",
    "chapter_utils/*.mplstyle",
    "chapter_checks/*.py",
    "chapter_checks/exercises/__init__.py",
    "chapter_checks/grading/*.py",
    "chapter_checks/turns/*.py",
    "chapter_checks/recordings/*.json",
    "notebooks/README.md",
    "notebooks/*.ipynb",
    "notebooks/figures/*.py",
    "notebooks/figures/*.csv",
    "notebooks/coursework/*.ipynb",
    "benchmarks/*.py",
    "benchmarks/results/*",
)


def answer_number(cell: nbformat.NotebookNode) -> str | None:
    """The exercise of a cell tagged "answer:2.1", "2.1"; None of other cells."""
    for tag in cell.metadata.get("tags", []):
        if tag.startswith("answer:"):
            return tag.removeprefix("answer:")
    return None


def check_cell(number: str, solved: bool) -> nbformat.NotebookNode:
    """The check, with the verdict that nbval compares in the solved version."""
    cell = nbformat.v4.new_code_cell(f'check("{number}")')
    cell.id = f"check-{number.replace('.', '-')}"
    metadata = {"deletable": False, "editable": False, "tags": [f"check:{number}"]}
    cell.metadata = nbformat.from_dict(metadata)
    if solved:
        verdict = f"{called(number)}: {PASSED}\n"
        cell.metadata.tags.append("nbval-check-output")
        cell.execution_count = 1  # nbval compares only cells that have been run
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=verdict)]
    return cell


def first_cell(text: str, path: Path, numbers: list[str], solved: bool) -> str:
    """Title and text, with links, points and minutes of all exercises, and how it works."""
    title, _, rest = text.partition("\n")
    points = 0
    minutes = 0
    for number in numbers:
        points += find(number).points
        minutes += find(number).minutes
    if solved:
        head = f"{title} (solved)"
    else:
        head = f"{title}\n\n{build.links(f'coursework/{path.stem}')}"
    sums = f"**In all:** {points} points, about {minutes} minutes."
    return f"{head}\n{rest}\n\n{sums}\n\n{HOW}"


def heading(match: re.Match) -> str:
    """The heading of an exercise, with its title, points and minutes."""
    entry = find(match[1])
    points = "1 point" if entry.points == 1 else f"{entry.points} points"
    text = f"## Exercise {entry.number}: {entry.title}\n\n*{points}, {entry.minutes} minutes*"
    for name in entry.without:
        name = name.removesuffix(".forward")
        text += f"\n\n`{name}` of the library is taken away: write it yourself."
    return text


def built_cell(
    cell: nbformat.NotebookNode, number: str | None, path: Path, place: int, solved: bool
) -> nbformat.NotebookNode:
    """A cell of the source, the one at `place`, as it stands in the notebook."""
    tags = cell.metadata.get("tags", [])
    if cell.cell_type == "markdown":
        text = references.linked(HEADING.sub(heading, cell.source), f"coursework/{path.stem}")
        new = nbformat.v4.new_markdown_cell(text)
    elif "setup" in tags:
        new = nbformat.v4.new_code_cell(build.setup_cell())
        new.metadata = nbformat.from_dict({"jupyter": {"source_hidden": True}, "tags": tags})
    elif number is None and (BEGIN in cell.source or END in cell.source):
        raise ValueError(f"{path.name}: a solution outside an answer cell")
    else:
        text = cell.source if number is None else answer(cell.source, called(number), solved)
        new = nbformat.v4.new_code_cell(text)
        if tags:
            new.metadata = nbformat.from_dict({"tags": tags})
    if number is None:
        new.id = f"c{path.stem[:2]}-{place:03d}"
    else:
        new.id = f"answer-{number.replace('.', '-')}"
    return new


def generate(path: Path, version: str) -> nbformat.NotebookNode:
    """The notebook of that version, "blank" or "solved"."""
    solved = version == "solved"
    source = jupytext.read(path, fmt="py:percent").cells
    asked = [number for cell in source for number in HEADING.findall(cell.source)]
    source[0].source = first_cell(source[0].source, path, asked, solved)
    cells = []
    done = []
    for place, cell in enumerate(source):
        number = answer_number(cell)
        cells.append(built_cell(cell, number, path, place, solved))
        if number is not None:
            cells.append(check_cell(number, solved))
            done.append(number)
    if asked != done:
        headings = ", ".join(asked)
        answers = ", ".join(done)
        raise ValueError(f"{path.name}: the headings are {headings}, the answer cells {answers}")
    return build.notebook_of(cells)


def sources() -> list[Path]:
    return sorted(SOURCE.glob("[0-9][0-9]_*.py"))


def student_files() -> dict[str, Path]:
    """What students receive, by name: a list of what is allowed, so that nothing slips through."""
    root = build.ROOT
    found = {path for pattern in STUDENT_FILES for path in root.glob(pattern) if path.is_file()}
    files = {path.relative_to(root).as_posix(): path for path in found}
    files |= {name: build.SOURCE / "student" / name for name in ("README.md", "Makefile")}
    return dict(sorted(files.items()))


def checks_as_code() -> dict[str, str]:
    """Of the modules of checks what students receive as code: record.AS_CODE and what it needs."""
    texts = {}
    for path in record.CHECKS.glob("lesson_*.py"):
        source = path.read_text(encoding="utf-8")
        kept = needed_parts(source)
        if any(isinstance(node, ast.FunctionDef) for node in kept):
            parts = [part_of(source, node) for node in kept]
            texts[path.relative_to(build.ROOT).as_posix()] = "\n\n\n".join(parts) + "\n"
    return texts


def needed_parts(source: str) -> list[ast.stmt]:
    """The imports, the checks that students have as code, and the functions that these call."""
    statements = ast.parse(source).body
    functions = [node for node in statements if isinstance(node, ast.FunctionDef)]
    kept = [node for node in functions if registered_as(node) in record.AS_CODE]
    for node in kept:  # grows
        used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        kept += [one for one in functions if one.name in used and one not in kept]
    imports = (ast.Import, ast.ImportFrom)
    return [node for node in statements if node in kept or isinstance(node, imports)]


def registered_as(node: ast.FunctionDef) -> str | None:
    """The number of an exercise whose check this is."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and decorator.func.id == "exercise":
            return decorator.args[0].value
    return None


def part_of(source: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def release(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, path in student_files().items():
            bundle.write(path, f"course/{name}")
        for name, text in checks_as_code().items():
            bundle.writestr(f"course/{name}", text)


def options_of() -> argparse.Namespace:
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
    return options


def main() -> int:
    options = options_of()
    paths = [path for path in sources() if not options.numbers or path.stem[:2] in options.numbers]
    stale = 0
    for path, version in itertools.product(paths, TARGETS):
        text = nbformat.writes(generate(path, version)) + "\n"
        target = TARGETS[version] / f"{path.stem}.ipynb"
        name = target.relative_to(build.NOTEBOOKS)
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        if options.check or options.release:
            stale += 1
            print(f"{name}: older than its source; run make notebooks")
        else:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"{name}: written")
    if options.release or options.check:
        stale += record.stale_lessons()
    if options.release and not stale:
        release(options.release)
        print(f"{options.release}: what students receive")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
