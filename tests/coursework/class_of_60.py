"""A class of 60 strangers, one in five an attacker: graded, interrupted, graded again (lesson 2).

    python tests/coursework/class_of_60.py [--students 60] [--jobs 2] [--keep FOLDER]

Makes the submissions, runs the grader's command, interrupts it, repeats it, repeats it once more,
and compares the table with the points that are due. Prints the seconds and the load of the machine.
Not one of the tests: it takes minutes.
"""

import argparse
import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "source"), str(ROOT / "tests"), str(HERE)]
import test_cheats  # noqa: E402

NAME = "02_numerical_methods.ipynb"
SOLVED = ROOT / "notebooks" / "solutions" / NAME
FULL = {"2.1": 1, "2.2": 2, "2.3": 2, "2.4": 2, "2.5": 3}
BOTH = {"2.1": 1, "2.5": 3}  # what the notebooks of test_cheats hold
Due = dict[str, dict[str, int]]  # the points of each student, by exercise


def written(folder: Path, student: str, notebook: dict, name: str = NAME) -> None:
    (folder / student).mkdir(exist_ok=True)
    (folder / student / name).write_text(json.dumps(notebook), encoding="utf-8")


def odd_files(folder: Path) -> Due:
    """What is handed in instead of a notebook, or beside it, or under another name."""
    solved = json.loads(SOLVED.read_text(encoding="utf-8"))
    due: Due = {}
    for student in ("Zoë Müller", "łódź 李", "a" * 120, "=cmd()", "<b>bold"):
        written(folder, student, solved)
        due[student] = FULL
    written(folder, "upper case", solved, "02.IPYNB")
    written(folder, "a copy", solved, "02_numerical_methods-Copy1.ipynb")
    due |= {"upper case": FULL, "a copy": FULL}
    (folder / "packed").mkdir()
    with zipfile.ZipFile(folder / "packed" / "mine.zip", "w") as packed:
        packed.write(SOLVED, NAME)
    due["packed"] = FULL
    written(folder, "twice", test_cheats.notebook(test_cheats.WRONG), "first.ipynb")
    os.utime(folder / "twice" / "first.ipynb", (1e9, 1e9))
    written(folder, "twice", solved, "second.ipynb")  # the last one counts
    due["twice"] = FULL
    for student in ("linked", "piped", "a folder", "broken link", "a script", "text", "nothing"):
        (folder / student).mkdir()
        due[student] = {}
    (folder / "linked" / NAME).symlink_to(SOLVED)
    os.mkfifo(folder / "piped" / NAME)
    (folder / "a folder" / NAME).mkdir()
    (folder / "broken link" / NAME).symlink_to(folder / "none")
    (folder / "a script" / "mine.py").write_text("def steps_to_double(h, omega): pass")
    (folder / "text" / "x.ipynb.txt").write_text("later")
    written(folder, "corrupt", {})
    due["corrupt"] = {}
    return due


def attackers(folder: Path, count: int) -> Due:
    names = [name for name in test_cheats.CHEATS if test_cheats.is_tried(name)]
    due = {}
    for number, name in enumerate(itertools.islice(itertools.cycle(names), count)):
        student = f"attacker {number} {name}"
        written(folder, student, test_cheats.CHEATS[name])
        due[student] = BOTH | {"2.1": 0}
    return due


def make_class(folder: Path, students: int) -> Due:
    """The submissions, and what is due."""
    due = odd_files(folder) | attackers(folder, students // 5)
    for name, notebook in test_cheats.UNLUCKY.items():
        written(folder, f"unlucky {name}", notebook)
        due[f"unlucky {name}"] = BOTH | {"2.1": 0}
    for name, notebook in test_cheats.HONEST.items():
        written(folder, f"honest {name}", notebook)
        due[f"honest {name}"] = BOTH
    solved = json.loads(SOLVED.read_text(encoding="utf-8"))
    for number in itertools.count(len(due)):
        if number >= students:
            return due
        written(folder, f"student {number}", solved)
        due[f"student {number}"] = FULL


def points_in(table: Path) -> Due:
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = {}
    for row in rows:
        points = {number: row[number] for number in FULL if row.get(number)}
        found[row["student"].removeprefix("'")] = points
    return found


def wrong_rows(found: Due, due: Due) -> list[str]:
    """Students without a row, or with other points than theirs."""
    wrong = []
    for student, points in due.items():
        mine = found.get(student)
        if mine is None:
            wrong.append(f"{student}: no row")
            continue
        asked = {number: mine.get(number, "0") for number in points}
        others = [gained for number, gained in mine.items() if number not in points]
        if asked != {n: str(p) for n, p in points.items()} or any(p != "0" for p in others):
            wrong.append(f"{student}: {mine}, not {points}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="an empty folder for the class and its grades")
    options = parser.parse_args()
    home = options.keep or Path(tempfile.mkdtemp())
    folder = home / "class"
    folder.mkdir(parents=True)
    due = make_class(folder, options.students)
    command = [sys.executable, "-m", "chapter_checks.grading.grade", str(folder)]
    command += ["--jobs", str(options.jobs), "--out", str(home / "out")]
    # so that the grader can be interrupted, even if this was started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    print(f"{len(due)} students, load {os.getloadavg()[0]:.1f}", flush=True)
    first = subprocess.Popen(command, cwd=ROOT)
    results = home / "out" / "results"
    while first.poll() is None and len(list(results.glob("*.json"))) < len(due) // 3:
        time.sleep(1)
    first.send_signal(signal.SIGINT)
    print(f"interrupted with status {first.wait()}, {time.monotonic() - start:.0f} s", flush=True)
    tables = []
    for _ in range(2):
        status = subprocess.run(command, cwd=ROOT).returncode
        seconds = time.monotonic() - start
        print(f"status {status}, {seconds:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
        tables.append((home / "out" / "grades.csv").read_bytes())
    problems = wrong_rows(points_in(home / "out" / "grades.csv"), due)
    if tables[0] != tables[1]:
        problems.append("the table of the third run is another one")
    print("\n".join(problems) or "every student has a row, with the points that are due")
    if not options.keep:
        shutil.rmtree(home)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
