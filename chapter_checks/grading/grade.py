"""Grade a folder of submissions: `make grade SUBMISSIONS=dir`.

The same without make: `python -m chapter_checks.grading.grade dir`. Only the notebooks are taken.
Each gets the original check cells back and runs alone in a sandbox (sandbox.py), and a process
outside it judges (judge.py). Writes grades.csv, feedback/STUDENT.md and results/, next to the
folder in dir-graded unless --out says otherwise. Finished submissions are not run again, so an
interrupted run can simply be repeated; delete results/ to grade everything anew. What was not
graded, or used up the grader's time, is not finished: the next run tries it again.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from . import sandbox, tables
from .files import Submission, natural, shown, submissions
from .judge import START, judge
from .tables import is_graded, points

BLANK = sandbox.ROOT / "notebooks" / "coursework"
MOST_CELLS = 1000  # of a notebook
CHECK = re.compile(r"\s*check\(\s*[\"'](\d+\.\d+)[\"']\s*\)\s*")
# Exercises that have another number than in earlier releases, and a function of their answer.
MOVED = {
    "4.2": ("9.1", "longest_antisymmetric_step"),
    "4.3": ("9.2", "projected_field"),
    "4.4": ("9.3", "equilibrium"),
    "4.5": ("9.4", "logarithmic_norms"),
    "4.6": ("9.5", "shrinking_weights"),
}
# seconds
LIMITS = {"cell": 30, "notebook": 240, "exercise": 120}
Verdict = tuple[bool | None, str]  # None if it is not graded; and the line on the page


class Opened(NamedTuple):
    """A submission that could be read."""

    lesson: str
    notebook: NotebookNode
    notes: list[str]


class Run(NamedTuple):
    """What one run of a notebook brought."""

    verdicts: dict[str, Verdict]
    problem: str = ""  # why some are missing, if that may not be the student's fault
    started: bool = True
    again: frozenset = frozenset()  # exercises during which the kernel died


# ---- the notebook that is run ----


def role(cell: NotebookNode) -> tuple[str, str] | None:
    """("answer" or "check", exercise) by id, else by tag, else by content.

    Editors lose the first two.
    """
    word_of_id = str(cell.get("id", "")).replace("-", ":", 1).replace("-", ".")
    tags = cell.metadata.get("tags")
    for word in [word_of_id, *(tags if isinstance(tags, list) else [])]:
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


def restore(notebook: NotebookNode, blank: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """The student's code with the original check cells, and notes on what had been changed.

    A cell of the notebook that holds a check becomes the original one, copies of it are left out,
    missing ones go behind their answer. Of all other cells only the code is taken.
    """
    checks = {
        found[1]: cell for cell in blank.cells if (found := role(cell)) and found[0] == "check"
    }
    last = {role(cell): k for k, cell in enumerate(notebook.cells)}
    notes = []
    found = []  # role and source
    for k, cell in enumerate(notebook.cells):
        kind, number = role(cell) or ("", "")
        if number not in checks:  # of another lesson, or invented: code like any other
            kind = number = ""
        if kind == "check":
            if last[kind, number] == k:
                original = checks[number].source
                if cell.cell_type != "code" or cell.source.strip() != original:
                    notes.append(
                        f"the check cell of {number} had been changed; the original was used"
                    )
                found.append((kind, number, original))
        elif cell.cell_type == "code" or kind == "answer":
            if cell.cell_type != "code":
                notes.append(f"the answer cell of {number} was not a code cell; it was run as one")
            found.append((kind, number, cell.source))
    for number in checks:
        roles = [(kind, of) for kind, of, _ in found]
        if ("check", number) not in roles:
            notes.append(f"the check cell of {number} was missing; it was put back")
            behind = [k + 1 for k, one in enumerate(roles) if one == ("answer", number)]
            place = max(behind, default=len(found))
            found.insert(place, ("check", number, checks[number].source))
    cells = []
    for k, (kind, number, source) in enumerate(found):
        cell = nbformat.v4.new_code_cell(source, id=f"g{k:03d}")
        if kind:
            cell.metadata = nbformat.from_dict({"tags": [f"{kind}:{number}"]})
        cells.append(cell)
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


def verdicts_of(notebook: NotebookNode, seconds: float, place: sandbox.Sandbox) -> Run:
    """Run the notebook in a sandbox of its own, judged by a process of its own."""
    cells = []
    for cell in notebook.cells:
        kind, number = role(cell) or ("", "")
        cells.append((cell.source, number if kind == "check" else ""))
    with tempfile.TemporaryDirectory(prefix="coursework-", ignore_cleanup_errors=True) as name:
        listen, speak = _context.Pipe(duplex=False)
        arguments = (cells, place(Path(name)), LIMITS["cell"], speak)
        process = _context.Process(target=judge, args=arguments, daemon=True)
        if _stopped.is_set():
            raise Stopped
        process.start()
        speak.close()
        try:
            return listened(listen, seconds)
        finally:
            process.terminate()  # which ends its sandbox, too
            process.join(2)
            process.kill()
            process.join()
            listen.close()


def listened(listen: Connection, seconds: float) -> Run:
    """What a judge says until it is done, or the time is up: it begins with the student's code."""
    verdicts = {}
    again = set()
    problem = "the sandbox did not start in time"
    started = False
    end = time.monotonic() + START
    while (left := end - time.monotonic()) > 0:
        if _stopped.is_set():
            raise Stopped
        if not listen.poll(min(left, 0.5)):
            continue
        try:
            kind, *content = json.loads(listen.recv_bytes())
        except (EOFError, OSError):
            kind, content = "failed", ["the judge's process ended"]
        if kind == "ready":
            started = True
            end = time.monotonic() + seconds
            problem = f"it used up the grader's time, {seconds:g} seconds"
        elif kind == "verdict":
            number, passed, line, died = content
            verdicts[number] = (passed, line)
            again |= {number} if died else set()
        else:
            problem = content[0] if kind == "failed" else ""
            break
    return Run(verdicts, problem, started, frozenset(again))


def opened(submission: Submission, blanks: dict[str, NotebookNode]) -> Opened:
    """The notebook that was handed in, restored; ValueError if there is none in it."""
    try:
        data = json.loads(submission.data)
        if len(data.get("cells", [])) > MOST_CELLS:
            raise ValueError(f"it has more than {MOST_CELLS} cells")
        submitted = nbformat.reads(submission.data.decode("utf-8-sig"), as_version=4)
        lesson = lesson_of(submitted)
        if lesson and lesson not in blanks:
            raise ValueError(f"there is no coursework of lesson {lesson}")
        if lesson:
            notebook, notes = restore(submitted, blanks[lesson])
            return Opened(lesson, notebook, notes + moved(submitted))
    except Exception as error:  # a corrupt file is a result too
        text = (str(error).splitlines() or [""])[0][:200]
        what = f"{submission.name} could not be read: {type(error).__name__}: {text}"
        raise ValueError(shown(what)) from None
    raise ValueError(f"{submission.name} holds no exercise")


def grade(submission: Opened, blanks: dict[str, NotebookNode], place: sandbox.Sandbox) -> dict:
    """Verdicts and notes for one submission, whatever it holds.

    "problem" says why not all of it is graded, if that may not be the student's fault.
    """
    lesson, notebook, notes = submission
    found = [role(cell) or ("", "") for cell in blanks[lesson].cells]
    verdicts = {number: (None, "") for kind, number in found if kind == "check"}
    run = verdicts_of(notebook, LIMITS["notebook"], place)
    verdicts |= run.verdicts
    problem = "" if run.started else run.problem
    # What ends the kernel takes the exercises after it along, and what takes long leaves no time
    # for them: each gets a run of its own.
    for number in verdicts:
        if number in run.verdicts and number not in run.again:
            continue
        if not run.started:
            break
        run_alone = verdicts_of(only(notebook, number), LIMITS["exercise"], place)
        verdicts[number] = run_alone.verdicts.get(number, (None, ""))
        problem = problem or run_alone.problem
    if not problem and any(passed is None for passed, _ in verdicts.values()):
        problem = "a check stopped"
    ordered = {number: list(verdict) for number, verdict in verdicts.items()}
    return {"lesson": lesson, "verdicts": ordered, "notes": list(notes), "problem": problem}


# ---- a folder of them ----


def without_verdicts(note: str, lesson: str | None = None) -> dict:
    return {"lesson": lesson, "verdicts": {}, "notes": [note], "problem": ""}


def by_date(submission: Submission) -> tuple:
    return submission.date, natural(submission.name)


def last_attempts(
    todo: list[Submission], blanks: dict[str, NotebookNode]
) -> tuple[dict[Submission, Opened], dict[Submission, dict]]:
    """What is to be graded, one attempt a student and lesson, and results that are notes only."""
    attempts: dict[tuple[str, str], dict[Submission, Opened]] = {}
    noted = {}
    for submission in todo:
        try:
            if submission.note:
                raise ValueError(submission.note)
            one = opened(submission, blanks)
        except ValueError as error:
            noted[submission] = without_verdicts(str(error))
        else:
            attempts.setdefault((submission.student, one.lesson), {})[submission] = one
    graded = {student for student, _ in attempts}
    for submission, result in list(noted.items()):
        # whole repositories are handed in, with notebooks that are no coursework
        if submission.student in graded and result["notes"][0].endswith("holds no exercise"):
            del noted[submission]
    chosen = {}
    for (_, lesson), group in attempts.items():
        last = max(group, key=by_date)
        chosen[last] = group[last]
        if len(group) > 1:
            date = time.strftime("%Y-%m-%d %H:%M", time.localtime(last.date))
            what = f"{len(group)} notebooks of lesson {lesson}"
            chosen[last].notes.append(f"{what}: the last, {last.name} of {date}, counts")
    return chosen, noted


def kept_result(path: Path) -> dict | None:
    """A finished result of an earlier run."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return result if {"lesson", "verdicts"} <= set(result) else None
    except (OSError, ValueError):
        return None


def grade_folder(
    folder: Path,
    out: Path,
    blank_folder: Path = BLANK,
    jobs: int | None = None,
    place: sandbox.Sandbox = sandbox.unprotected,
) -> dict[Submission, dict]:
    """Grade all submissions in the folder, `jobs` at a time (one a core)."""
    blanks = {
        path.stem: nbformat.read(path, as_version=4)
        for path in sorted(blank_folder.glob("[0-9][0-9]_*.ipynb"))
    }
    todo = submissions(folder, list(blanks), out.resolve())
    if not todo:
        raise ValueError(f"there is no submission in {folder}")
    read = [path for name in sandbox.PACKAGES for path in (sandbox.ROOT / name).rglob("*.py")]
    read += blank_folder.glob("*.ipynb")
    sources = b"".join(path.read_bytes() for path in sorted(read))
    by_lesson = {name[:2]: blank for name, blank in blanks.items()}
    chosen, results = last_attempts(todo, by_lesson)
    (out / "results").mkdir(parents=True, exist_ok=True)

    def one(submission: Submission) -> dict:
        """Verdicts, kept ones if there are any; the notes are those of this run."""
        digest = hashlib.sha256(sources + submission.data).hexdigest()[:20]
        path = out / "results" / f"{digest}.json"
        if kept := kept_result(path):
            return kept | {"notes": chosen[submission].notes}
        if _stopped.is_set():
            raise Stopped
        try:
            result = grade(chosen[submission], by_lesson, place)
        except Exception as error:
            if _stopped.is_set():
                raise Stopped from None
            why = shown(f"{type(error).__name__}: {error}"[:200])
            return without_verdicts("", chosen[submission].lesson) | {"notes": [], "problem": why}
        if _stopped.is_set():
            raise Stopped
        if not result["problem"]:
            tables.write_whole(path, json.dumps(result))
        return result

    _stopped.clear()
    pool = ThreadPoolExecutor(jobs or os.cpu_count())
    count = len(results) + len(chosen)
    try:
        futures = {pool.submit(one, submission): submission for submission in chosen}
        for done in as_completed(futures):
            submission = futures[done]
            result = done.result()
            results[submission] = result
            said = f"{points(result)} points"
            if not is_graded(result):
                said = f"{tables.NOT_GRADED}: {result['problem']}"
            print(f"{len(results)}/{count}  {submission.student}: {said}", flush=True)
    finally:
        _stopped.set()  # first of all: whatever ends from here on is no verdict
        pool.shutdown(wait=False, cancel_futures=True)
        tables.write(out, by_student(results))
        pool.shutdown()  # a few seconds, in which each thread ends its judge
    return results


def by_student(results: dict[Submission, dict]) -> dict[str, list[dict]]:
    found = {}
    for submission, result in sorted(results.items(), key=lambda item: item[0][:2]):
        found.setdefault(submission.student, []).append(result)
    return found


def sandbox_for(options: argparse.Namespace, folder: Path, out: Path) -> sandbox.Sandbox:
    """The protection that was asked for, tried once: sandbox.Unavailable if there is none."""
    if options.unprotected:
        print("Unprotected: students' code runs with your rights, on your files and network.")
        return sandbox.unprotected
    if options.image:
        seconds = LIMITS["notebook"] + 60
        place = sandbox.container(options.image, seconds)
    else:
        place = sandbox.bubblewrap([sandbox.ROOT, folder, out.resolve()])
    blank = nbformat.v4.new_notebook()
    if problem := verdicts_of(blank, LIMITS["notebook"], place).problem:
        raise sandbox.Unavailable(
            f"{problem}. Nothing was graded. Mend this, grade in a container (--image IMAGE), "
            "or say --unprotected if you trust every one of them."
        )
    return place


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
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--image", help="run them in containers of this image (Podman or Docker)")
    how.add_argument(
        "--unprotected",
        action="store_true",
        help="run them with your rights: only if you trust all",
    )
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    folder = options.submissions.resolve()
    if not folder.is_dir():
        parser.error(f"{options.submissions} is not a folder")
    out = options.out or folder.with_name(f"{folder.name}-graded")
    _stopped.clear()
    try:
        place = sandbox_for(options, folder, out)
        results = grade_folder(folder, out, options.blank, options.jobs, place)
    except KeyboardInterrupt:
        print(f"Interrupted. What is finished is in {out}; the same command goes on from there.")
        return 130
    except sandbox.Unavailable as error:
        print(error, file=sys.stderr)
        return 3
    except ValueError as error:
        parser.error(str(error))
    print(f"{out / 'grades.csv'} and {out / 'feedback'}")
    if problems := [result for result in results.values() if not is_graded(result)]:
        causes = "; ".join(dict.fromkeys(result["problem"] for result in problems))
        print(f"{len(problems)} not graded ({causes}): the same command tries them again.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
