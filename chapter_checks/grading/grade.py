"""Grade a folder of submissions: `make grade SUBMISSIONS=dir`.

The same without make: `python -m chapter_checks.grading.grade dir`. Only the notebooks are taken.
Each gets the original check cells back and is judged alone: in an empty folder, with a fresh copy
of this package, without solutions. Writes grades.csv, feedback/STUDENT.md and results/, next to the
folder in dir-graded unless --out says otherwise. Finished submissions are not run again, so an
interrupted run can simply be repeated; delete results/ to grade everything anew. A notebook that
used up the grader's time is not finished: the next run tries it again.
"""

import argparse
import csv
import hashlib
import json
import multiprocessing
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from ..engine import PASSED, find
from .judge import judge

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "chapter_utils", ROOT / "chapter_checks"]
BLANK = ROOT / "notebooks" / "coursework"
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP")
# comments that nbval obeys
MARK = re.compile(r"^(\s*#+\s*)(NBVAL_\w+|PYTEST_VALIDATE_IGNORE_OUTPUT)\b", re.M)
CHECK = re.compile(r"\s*check\(\s*[\"'](\d+\.\d+)[\"']\s*\)\s*")
# Exercises that have another number than in earlier releases, and a function of their answer.
MOVED = {
    "4.2": ("9.1", "longest_antisymmetric_step"),
    "4.3": ("9.2", "projected_field"),
    "4.4": ("9.3", "equilibrium"),
    "4.5": ("9.4", "logarithmic_norms"),
    "4.6": ("9.5", "shrinking_weights"),
}
# seconds; nbval takes up to 60 more to give up a cell
LIMITS = {"cell": 30, "notebook": 240, "exercise": 120}


class Submission(NamedTuple):
    student: str
    path: Path


# ---- the notebook that is run ----


def role(cell: NotebookNode) -> tuple[str, str] | None:
    """("answer" or "check", exercise) by id, else by tag, else by content.

    Editors lose the first two.
    """
    word_of_id = str(cell.get("id", "")).replace("-", ":", 1).replace("-", ".")
    for word in [word_of_id, *cell.metadata.get("tags", [])]:
        if match := re.fullmatch(r"(answer|check):(\d+\.\d+)", str(word)):
            return match[1], match[2]
    if match := CHECK.fullmatch(cell.source):
        return "check", match[1]
    return None


def lesson_of(notebook: NotebookNode) -> str:
    """The lesson that most of the notebook's exercises belong to, "02"; "" if it has none."""
    lessons = [found[1].split(".")[0].zfill(2) for cell in notebook.cells if (found := role(cell))]
    return max(sorted(set(lessons)), key=lessons.count, default="")


def moved(notebook: NotebookNode) -> list[str]:
    """A note on each answer that stands under the number of an earlier release."""
    notes = []
    for cell in notebook.cells:
        kind, old = role(cell) or ("", "")
        new, function = MOVED.get(old, ("", ""))
        if kind == "answer" and new and re.search(rf"^def {function}\b", cell.source, re.M):
            lesson = new.split(".")[0]
            notes.append(
                f"exercise {old} of an earlier release is now exercise {new}: put this answer into "
                f"the new coursework of lesson {lesson} and hand that in"
            )
    return notes


def is_changed(cell: NotebookNode, original: NotebookNode) -> bool:
    tags = cell.metadata.get("tags", [])
    marks = {tag for tag in tags if "nbval" in tag or tag == "raises-exception"}
    same_code = cell.cell_type == "code" and cell.source.strip() == original.source
    return not same_code or bool(marks - {"nbval-check-output"})


def restore(notebook: NotebookNode, blank: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """The student's code with the original check cells, and notes on what had been changed.

    A cell of the notebook that holds a check becomes the original one, copies of it are left out,
    missing ones go behind their answer. All outputs, counts, tags and comments that nbval obeys are
    removed.
    """
    checks = {
        found[1]: cell for cell in blank.cells if (found := role(cell)) and found[0] == "check"
    }
    last = {role(cell): k for k, cell in enumerate(notebook.cells)}
    notes = []
    cells = []
    roles = []
    for k, cell in enumerate(notebook.cells):
        kind, number = role(cell) or ("", "")
        if number not in checks:  # of another lesson, or invented: code like any other
            kind = number = ""
        if kind == "check":
            if last[kind, number] == k:
                if is_changed(cell, checks[number]):
                    notes.append(
                        f"the check cell of {number} had been changed; the original was used"
                    )
                cells.append(None)
                roles.append((kind, number))
        elif cell.cell_type == "code" or kind == "answer":
            if cell.cell_type != "code":
                notes.append(f"the answer cell of {number} was not a code cell; it was run as one")
            new = nbformat.v4.new_code_cell(MARK.sub(r"\1", cell.source))
            if new.source != cell.source:
                notes.append("a comment that nbval obeys was removed")
            cells.append(new)
            roles.append((kind, number))
    for number in checks:
        if ("check", number) not in roles:
            notes.append(f"the check cell of {number} was missing; it was put back")
            behind = [k + 1 for k, found in enumerate(roles) if found == ("answer", number)]
            place = max(behind, default=len(roles))
            cells.insert(place, None)
            roles.insert(place, ("check", number))
    for k, (kind, number) in enumerate(roles):
        if kind == "check":
            cells[k] = nbformat.v4.new_code_cell(checks[number].source, execution_count=1)
            line = f"Exercise {number}: {PASSED}\n"
            cells[k].outputs = [nbformat.v4.new_output("stream", name="stdout", text=line)]
            tags = [f"check:{number}", "nbval-check-output"]
            cells[k].metadata = nbformat.from_dict({"tags": tags})
        elif kind:
            cells[k].metadata = nbformat.from_dict({"tags": [f"{kind}:{number}"]})
        cells[k].id = f"g{k:03d}"
    made = nbformat.v4.new_notebook(cells=cells, metadata=blank.metadata, nbformat_minor=5)
    return made, list(dict.fromkeys(notes))


def only(notebook: NotebookNode, number: str) -> NotebookNode:
    """The notebook without the answers and checks of all other exercises."""
    cells = [cell for cell in notebook.cells if (role(cell) or ("", number))[1] == number]
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata, nbformat_minor=5)


# ---- running it ----

# A server process has imported all that a judge needs; each judge is a fork of it. Where there is
# none, judges start from nothing.
_forks = "forkserver" in multiprocessing.get_all_start_methods()
_context = multiprocessing.get_context("forkserver" if _forks else "spawn")
if hasattr(_context, "set_forkserver_preload"):
    _context.set_forkserver_preload([f"{__package__}.judge"])
# The run is over: judges are killed, and a verdict that is missing means nothing.
_stopped = threading.Event()


class Stopped(Exception):
    """The run was interrupted before this submission was finished."""


def verdicts_of(notebook: NotebookNode, seconds: float) -> tuple[dict[str, tuple[bool, str]], bool]:
    """Verdicts by exercise, from a process of its own, and whether it came to its end in time.

    If it did not, some are missing.
    """
    with tempfile.TemporaryDirectory(prefix="coursework-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for package in PACKAGES:
            shutil.copytree(package, folder / "library" / package.name)
        path = folder / "work" / "submission.ipynb"
        path.parent.mkdir()
        nbformat.write(notebook, path)
        environment = {key: value for key, value in os.environ.items() if key in ENVIRONMENT}
        environment |= {
            "PYTHONPATH": str(folder / "library"),
            "PYTHONSAFEPATH": "1",
            "IPYTHONDIR": str(folder / "ipython"),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        listen, speak = _context.Pipe()
        arguments = (str(path), LIMITS["cell"], environment, speak)
        process = _context.Process(target=judge, args=arguments, daemon=True)
        verdicts = {}
        ended = False
        end = time.monotonic() + seconds
        if _stopped.is_set():
            raise Stopped
        process.start()
        speak.close()
        try:
            while not _stopped.is_set() and (left := end - time.monotonic()) > 0:
                if listen.poll(min(left, 0.5)):
                    number, passed, line = listen.recv()
                    verdicts.setdefault(number, (passed, line))
        except EOFError:  # it has finished
            ended = True
            process.join(max(end - time.monotonic(), 1))
        finally:
            process.kill()
            process.join()
        if _stopped.is_set():
            raise Stopped
        return verdicts, ended


def grade(path: Path, blanks: dict[str, NotebookNode]) -> dict:
    """Verdicts and notes for one submission, whatever it holds.

    "finished" is False if time ran out for one of its runs.
    """
    try:
        submitted = nbformat.read(path, as_version=4)
        lesson = lesson_of(submitted)
        if not lesson:
            return {"lesson": "", "verdicts": {}, "notes": [f"{path.name} holds no exercise"]}
        if lesson not in blanks:
            raise ValueError(f"there is no coursework of lesson {lesson}")
        notebook, notes = restore(submitted, blanks[lesson])
        notes += moved(submitted)
    except Exception as error:  # a corrupt file is a result too
        text = (str(error).splitlines() or [""])[0][:200]
        note = f"{path.name} could not be read: {type(error).__name__}: {text}"
        return {"lesson": None, "verdicts": {}, "notes": [note]}
    found = [role(cell) or ("", "") for cell in blanks[lesson].cells]
    numbers = [number for kind, number in found if kind == "check"]
    verdicts, finished = verdicts_of(notebook, LIMITS["notebook"])
    # A cell that ends the kernel takes the exercises after it along: each gets a run of its own.
    for number in numbers:
        if number not in verdicts or "Kernel dead" in verdicts[number][1]:
            alone, ended = verdicts_of(only(notebook, number), LIMITS["exercise"])
            missing = (False, f"Exercise {number}: its check did not come to an end.")
            verdicts[number] = alone.get(number) or missing
            finished = finished and ended
    if not finished:
        notes.append(f"{path.name} used up the grader's time; the next run tries it again")
    ordered = {number: list(verdicts[number]) for number in numbers}
    return {"lesson": lesson, "verdicts": ordered, "notes": notes, "finished": finished}


# ---- a folder of them ----


def submissions(folder: Path, blanks: list[str]) -> list[Submission]:
    """All notebooks below the folder.

    The student is the first folder below it, or else the name of the file.
    """
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        name = parts[0]
        if len(parts) == 1:
            name = path.stem
            for blank in blanks:
                name = name.replace(blank, "").strip("_- ") or folder.resolve().name
        found.append(Submission(name, path))
    return found


def points(result: dict) -> int:
    return sum(find(number).points for number, (passed, _) in result["verdicts"].items() if passed)


def all_verdicts(results: list[dict]) -> dict[str, tuple[bool, str]]:
    verdicts = {}
    for result in results:
        verdicts |= result["verdicts"]
    return verdicts


def feedback(student: str, results: list[dict]) -> str:
    """The student's page, in Markdown."""
    verdicts = all_verdicts(results)
    total = sum(find(number).points for number in verdicts)
    title = f"# {student}: nothing could be graded"
    if total:
        title = f"# {student}: {sum(map(points, results))} of {total} points"
    lines = [title, ""]
    for number, (passed, line) in verdicts.items():
        of = find(number)
        lines.append(f"- **{number} {of.title}**: {of.points if passed else 0} of {of.points}")
        if line:
            lines[-1] += f"  \n  {line}"
    lines += ["", *(f"Note: {note}." for result in results for note in result["notes"])]
    return "\n".join(lines).rstrip() + "\n"


def write_tables(out: Path, results: dict[Submission, dict]) -> None:
    """grades.csv and the feedback pages.

    If a student handed in a lesson more than once, the best one counts.
    """
    best: dict[str, dict] = {}
    for submission, result in sorted(results.items()):
        mine = best.setdefault(submission.student, {})
        place = result["lesson"]
        if place is None:
            place = f"unreadable {submission.path.name}"
        if place not in mine or points(result) > points(mine[place]):
            mine[place] = result
    for mine in best.values():
        if len(mine) > 1:  # whole repositories are handed in, with notebooks that are no coursework
            mine.pop("", None)
    numbers = sorted(
        all_verdicts(list(results.values())),
        key=lambda number: [int(part) for part in number.split(".")],
    )
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    with open(out / "grades.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["student", *numbers, "total", "of", "notes"])
        for student, mine in sorted(best.items()):
            verdicts = all_verdicts(list(mine.values()))
            row = dict.fromkeys(numbers, "")
            for number, (passed, _) in verdicts.items():
                row[number] = find(number).points if passed else 0
            total = sum(map(points, mine.values()))
            of = sum(find(number).points for number in verdicts) or ""
            notes = "; ".join(note for result in mine.values() for note in result["notes"])
            writer.writerow([student, *row.values(), total, of, notes])
            # the name is one of a folder or file already: no need to change it
            page = out / "feedback" / f"{student}.md"
            page.write_text(feedback(student, list(mine.values())), encoding="utf-8")


def grade_folder(
    folder: Path, out: Path, blank_folder: Path = BLANK, jobs: int | None = None
) -> dict[Submission, dict]:
    """Grade all submissions in the folder, `jobs` at a time (one a core)."""
    blanks = {
        path.stem: nbformat.read(path, as_version=4)
        for path in sorted(blank_folder.glob("[0-9][0-9]_*.ipynb"))
    }
    todo = submissions(folder, list(blanks))
    if not todo:
        raise ValueError(f"there is no notebook in {folder}")
    read = [path for package in PACKAGES for path in package.rglob("*.py")]
    read += blank_folder.glob("*.ipynb")
    sources = b"".join(path.read_bytes() for path in sorted(read))
    by_lesson = {name[:2]: blank for name, blank in blanks.items()}
    (out / "results").mkdir(parents=True, exist_ok=True)
    results: dict[Submission, dict] = {}

    def one(submission: Submission) -> dict:
        digest = hashlib.sha256(sources + submission.path.read_bytes()).hexdigest()[:20]
        kept = out / "results" / f"{digest}.json"
        if kept.exists():
            return json.loads(kept.read_text(encoding="utf-8"))
        if _stopped.is_set():
            raise Stopped
        result = grade(submission.path, by_lesson)
        if _stopped.is_set():
            raise Stopped
        if not result.get("finished", True):
            return result
        unfinished = kept.with_suffix(f".{secrets.token_hex(4)}")
        unfinished.write_text(json.dumps(result), encoding="utf-8")
        unfinished.replace(kept)  # at once, so that an interruption leaves no half a result
        return result

    _stopped.clear()
    pool = ThreadPoolExecutor(jobs or os.cpu_count())
    try:
        futures = {pool.submit(one, submission): submission for submission in todo}
        for done in as_completed(futures):
            submission = futures[done]
            result = done.result()
            results[submission] = result
            progress = f"{len(results)}/{len(todo)}"
            print(f"{progress}  {submission.student}: {points(result)} points", flush=True)
    finally:
        _stopped.set()  # first of all: whatever ends from here on is no verdict
        pool.shutdown(wait=False, cancel_futures=True)
        write_tables(out, results)
        pool.shutdown()  # half a second, in which each thread kills its judge
    return results


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("submissions", type=Path)
    parser.add_argument(
        "--out", type=Path, help="where the results go; the default is SUBMISSIONS-graded"
    )
    parser.add_argument(
        "--blank",
        type=Path,
        default=BLANK,
        help="the folder of the notebooks that students received",
    )
    parser.add_argument("--jobs", type=int, help="how many at a time; the default is one a core")
    options = parser.parse_args()
    folder = options.submissions.resolve()
    if not folder.is_dir():
        parser.error(f"{options.submissions} is not a folder")
    out = options.out or folder.with_name(f"{folder.name}-graded")
    try:
        grade_folder(folder, out, options.blank, options.jobs)
    except KeyboardInterrupt:
        print(f"Interrupted. What is finished is in {out}; the same command goes on from there.")
        return 130
    except ValueError as error:
        parser.error(str(error))
    print(f"{out / 'grades.csv'} and {out / 'feedback'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
