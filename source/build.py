"""Lessons: source/lessons/NN_topic.py (jupytext percent) -> notebooks/NN_topic.ipynb, executed.

    python source/build.py              write the lessons whose source has changed; execute those
                                        whose code has
    python source/build.py 05 07        the same for these lessons only
    python source/build.py --all        every lesson, changed or not
    python source/build.py --check      exit 1 if a stored lesson is not what its source describes
    python source/build.py --execute    execute every lesson; nothing is written
    python source/build.py --address OWNER/NAME
                                        put the address of your repository into every file that
                                        names it

The cell tagged "setup" is replaced by setup_cell.py. Under the title stand links to Binder, Colab,
symbols and exercises, and MINUTES becomes the time of reading_time.py. "Exercise 5.2" becomes a
link (references.py). A cell with a solution (blanks.py) is a *your turn* cell: the notebook shows
it blank, with the solution folded below. A cell tagged "reveal" answers a prediction: its output
stays closed until it is run, and its last statement, reply(...), becomes a closed cell of its own.
"""

import argparse
import ast
import copy
import re
import sys
import time
import warnings
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import blanks
import reading_time
import references
from chapter_checks.engine import called

SOURCE = Path(__file__).resolve().parent
ROOT = SOURCE.parent
LESSONS = SOURCE / "lessons"
NOTEBOOKS = ROOT / "notebooks"
SYMBOLS = "00_symbols"  # not a lesson: what letters and words mean in all of them
REPOSITORY = "OWNER/REPOSITORY"  # on GitHub; changed here and in all these files by --address
ADDRESSED = (
    "source/build.py",
    "source/setup_cell.py",
    "chapter_checks/README.md",
    "chapter_checks/grading/classroom.yml",
    "README.md",
    "CITATION.cff",
)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def links(name: str) -> str:
    file = f"notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{REPOSITORY}/main?urlpath=lab/tree/{file}"
    colab = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/{file}"
    return f"[Open in Binder]({binder}) · [Open in Colab]({colab})"


def sources() -> list[Path]:
    """The page of symbols, and the lessons."""
    return sorted(LESSONS.glob("[0-9][0-9]_*.py"))


def lessons() -> list[Path]:
    return [path for path in sources() if path.stem != SYMBOLS]


def setup_cell() -> str:
    return (SOURCE / "setup_cell.py").read_text(encoding="utf-8").strip()


def generate(path: Path) -> nbformat.NotebookNode:
    """The lesson without outputs: same source, same cells, same ids."""
    cells = []
    source = jupytext.read(path, fmt="py:percent").cells
    for number, cell in enumerate(source):
        if cell.cell_type == "markdown":
            text = cell.source
            if number == 0:
                text = first_cell(text, path.stem, reading_time.minutes(source))
            new = nbformat.v4.new_markdown_cell(references.linked(text, path.stem))
        else:
            new = code_cell(cell)
        new["id"] = f"l{path.stem[:2]}-{number:03d}"
        cells.append(new)
        if blanks.BEGIN in cell.source:
            cells.append(folded_solution(cell.source))
            cells[-1]["id"] = f"{new['id']}-solution"
        if "reveal" in new.metadata.get("tags", []):
            new.source, answer = split_reply(new.source)
            cells.append(closed_reply(answer, new.metadata))
            cells[-1]["id"] = f"{new['id']}-reply"
    return notebook_of(cells)


def first_cell(text: str, name: str, minutes: int) -> str:
    """Title and text, with links and the time."""
    title, _, rest = text.partition("\n")
    others = []
    if name != SYMBOLS:
        others.append(f"[Symbols and words]({SYMBOLS}.ipynb)")
    if (SOURCE / "coursework" / f"{name}.py").exists():
        others.append(f"[Exercises](coursework/{name}.ipynb)")
    rest = rest.replace("MINUTES", f"about {minutes} minutes")
    rest = rest.replace("\n**Time:**", "\n\n**Time:**")  # a paragraph of its own
    return "\n\n".join([title, links(name), " · ".join(others), rest.strip("\n")])


def code_cell(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    tags = cell.metadata.get("tags", [])
    text = setup_cell() if "setup" in tags else cell.source
    if blanks.BEGIN in text:
        text = blanks.answer(text, called(turn_in(text)), solved=False)
    new = nbformat.v4.new_code_cell(text)
    kept = {key: value for key, value in cell.metadata.items() if key in ("tags", "jupyter")}
    new.metadata = nbformat.from_dict(kept)
    if "setup" in tags:  # nothing in it that a student must read
        new.metadata["jupyter"] = {"source_hidden": True}
    if "reveal" in tags:  # JupyterLab opens it when the cell is run
        new.metadata["jupyter"] = {**kept.get("jupyter", {}), "outputs_hidden": True}
    return new


def split_reply(text: str) -> tuple[str, str]:
    """What computes, and what answers: reply(...) with the words and assertions around it."""
    body = ast.parse(text).body
    found = [k for k, node in enumerate(body) if ast.unparse(node).startswith("reply(")]
    if not found:
        raise ValueError(f"a cell tagged reveal must answer the guess with reply(...):\n{text}")
    start = found[0]
    words = (ast.Constant, ast.JoinedStr, ast.Dict)
    while start and (
        isinstance(body[start - 1], ast.Assert | ast.AugAssign)
        or (isinstance(body[start - 1], ast.Assign) and isinstance(body[start - 1].value, words))
    ):
        start -= 1
    lines = text.splitlines()
    split = body[start].lineno - 1
    return "\n".join(lines[:split]).rstrip(), "\n".join(lines[split:])


def closed_reply(text: str, metadata: dict) -> nbformat.NotebookNode:
    """The answer to a prediction, in a cell whose code is closed too: it names the right guess."""
    new = nbformat.v4.new_code_cell(f"# @title And your guess?\n{text}")
    closed = {"jupyter": {"source_hidden": True, "outputs_hidden": True}, "cellView": "form"}
    new.metadata = nbformat.from_dict({"tags": metadata["tags"], **closed})
    return new


def turn_in(text: str) -> str:
    """The number "2.A" of the *your turn* cell with this text, which ends with its check."""
    match = re.search(r'^your_turn\("(\d+\.[A-Z])"\)\s*\Z', text, re.MULTILINE)
    if not match:
        raise ValueError(f"a cell with a solution must end with your_turn(...):\n{text}")
    return match[1]


def solution_in(text: str) -> str:
    """The *your turn* cell with this text, solved and without its check."""
    solved = blanks.answer(text, called(turn_in(text)), solved=True)
    return re.sub(r"^your_turn\(.*", "", solved, flags=re.MULTILINE).strip()


def folded_solution(text: str) -> nbformat.NotebookNode:
    summary = f"<summary>One solution of “{called(turn_in(text))}”</summary>"
    code = f"```python\n{solution_in(text)}\n```"
    return nbformat.v4.new_markdown_cell(f"<details>{summary}\n\n{code}\n\n</details>")


def notebook_of(cells: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Run all cells in notebooks/; keep what a reader should see and nothing of this machine."""
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    notebook.metadata = nbformat.from_dict(copy.deepcopy(METADATA))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for out in cell.get("outputs", []):
            if out.get("name") == "stderr":
                raise RuntimeError(f"cell {cell.id} warns: {out.text}")
    return notebook


def without_outputs(notebook: nbformat.NotebookNode) -> list:
    return [(cell.id, cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def is_current(path: Path) -> bool:
    target = NOTEBOOKS / f"{path.stem}.ipynb"
    if not target.exists():
        return False
    stored = nbformat.read(target, as_version=4)
    ran = all(cell.execution_count is not None for cell in stored.cells if cell.cell_type == "code")
    same = without_outputs(stored) == without_outputs(generate(path))
    return ran and same and stored.metadata == METADATA


def clean(path: Path) -> None:
    """Renew a stored lesson without running it, if all its code but the set-up is the same.

    It takes new words and addresses, and loses what a front end or Colab wrote around its cells:
    ids, folds and the state of widgets, with which GitHub shows no notebook at all.
    """
    target = NOTEBOOKS / f"{path.stem}.ipynb"
    if not target.exists():
        return
    made = generate(path)
    cells = [cell for cell in made.cells if cell.cell_type == "code"]
    stored = nbformat.read(target, as_version=4).cells
    ran = [cell for cell in stored if cell.cell_type == "code"]
    if len(cells) != len(ran):
        return
    for cell, old in zip(cells, ran, strict=True):
        if cell.source != old.source and "setup" not in cell.metadata.get("tags", []):
            return
        cell.outputs = old.outputs
        cell.execution_count = old.execution_count
    nbformat.write(made, target)


def change_address(new: str) -> None:
    files = [*(ROOT / name for name in ADDRESSED), *NOTEBOOKS.rglob("*.ipynb")]
    for path in files:
        path.write_text(path.read_text(encoding="utf-8").replace(REPOSITORY, new), encoding="utf-8")
    print(
        f"{REPOSITORY} is now {new} in all notebooks, in {', '.join(ADDRESSED)}, and on the site."
    )


def is_built(path: Path, write: bool) -> bool:
    """Execute a lesson, and write it if wanted; False, with the reason printed, if it fails."""
    print(f"{path.stem}: running ...", end=" ", flush=True)
    start = time.perf_counter()
    try:
        notebook = execute(generate(path))
    except (CellExecutionError, RuntimeError) as error:
        print(f"FAILED\n{error}")
        return False
    if write:
        nbformat.write(notebook, NOTEBOOKS / f"{path.stem}.ipynb")
    print(f"{time.perf_counter() - start:.0f} s")
    return True


def options_of() -> tuple[argparse.Namespace, list[Path]]:
    """The command line, and the sources of the lessons that it means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = "lessons to look at, such as 05; all if none is given"
    parser.add_argument("numbers", nargs="*", help=which)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--all", action="store_true")
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--execute", action="store_true")
    choice.add_argument("--address", metavar="OWNER/NAME")
    options = parser.parse_args()
    chosen = sources()
    if unknown := set(options.numbers) - {path.stem[:2] for path in chosen}:
        parser.error(f"no lesson is numbered {' or '.join(sorted(unknown))}")
    if options.address and not re.fullmatch(r"[\w.-]+/[\w.-]+", options.address):
        parser.error(f"an address has the form OWNER/NAME, got {options.address!r}")
    if options.numbers:
        chosen = [path for path in chosen if path.stem[:2] in options.numbers]
    return options, chosen


def main() -> int:
    options, chosen = options_of()
    # ipykernel and zmq announce things a reader of this build can do nothing about
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    if options.address:
        change_address(options.address)
        return 0
    failed = 0
    for path in chosen:
        if not (options.check or options.execute) and not is_current(path):
            clean(path)
        if options.check:
            if not is_current(path):
                failed += 1
                print(f"{path.stem}: the notebook is older than its source; run make notebooks")
        elif not (options.all or options.execute) and is_current(path):
            print(f"{path.stem}: up to date")
        elif not is_built(path, write=not options.execute):
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
