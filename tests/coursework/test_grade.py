"""Grading without kernels: who handed in what, restored notebooks, tables, interrupted runs."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys
import time

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import build_coursework as builder
from chapter_checks.grading import grade, sandbox
from chapter_checks.grading.files import Submission
from lesson import ROOT

(SOURCE,) = builder.SOURCE.glob("02_*.py")
BLANK = builder.generate(SOURCE, "blank")
NUMBERS = ["2.1", "2.2", "2.3", "2.4", "2.5"]


def roles(notebook):
    return [found for cell in notebook.cells if (found := grade.role(cell))]


def submitted(**changes):
    notebook = nbformat.from_dict(BLANK)
    for cell in notebook.cells:
        if change := changes.get(cell.id.replace("-", "_")):
            change(cell)
    return notebook


def rows(out):
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture
def quick(monkeypatch):
    """Instead of a judge: an exercise is passed if the notebook says so."""

    def verdicts_of(notebook, seconds, place):
        text = "\n".join(cell.source for cell in notebook.cells)
        verdicts = {
            n: (
                f"# right {n}" in text,
                "" if f"# right {n}" in text else f"Exercise {n}: not passed yet. Hm.",
            )
            for n in NUMBERS
        }
        return grade.Run(verdicts)

    monkeypatch.setattr(grade, "verdicts_of", verdicts_of)


def hand_in(folder, name, *right, first="x = 1"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.from_dict(BLANK)
    notebook.cells.insert(0, new_code_cell("\n".join([first, *(f"# right {n}" for n in right)])))
    nbformat.write(notebook, path)


# ---- restored ------------------------------------------------------------------------------------


def test_an_untouched_notebook_keeps_its_order():
    made, notes = grade.restore(nbformat.from_dict(BLANK), BLANK)
    nbformat.validate(made)
    assert notes == [] and roles(made) == roles(BLANK)
    for cell in made.cells:
        assert cell.cell_type == "code"
        assert cell.outputs == [] and cell.execution_count is None


def test_what_was_changed_is_noted_and_undone():
    made, notes = grade.restore(
        submitted(
            check_2_1=lambda cell: cell.update(source="print('passed')"),
            check_2_2=lambda cell: cell.update(cell_type="markdown"),
            check_2_3=lambda cell: cell.update(
                source="", id="gone", metadata=nbformat.from_dict({})
            ),
            answer_2_4=lambda cell: cell.update(cell_type="raw", source="x = 1"),
        ),
        BLANK,
    )
    assert roles(made) == roles(BLANK)
    assert len(notes) == 4
    for part in ("2.1 had", "2.2 had", "2.3 was missing", "2.4 was not"):
        assert part in " ".join(notes)
    assert all(cell.cell_type == "code" for cell in made.cells)


def test_a_check_cell_is_found_by_id_by_tag_or_by_content():
    assert grade.role(new_code_cell("x", id="check-2-1")) == ("check", "2.1")
    assert grade.role(new_code_cell("x", metadata={"tags": ["answer:2.1"]})) == ("answer", "2.1")
    assert grade.role(new_code_cell("\n check( '12.3' ) ")) == ("check", "12.3")
    for source in ('f()\ncheck("2.1")', 'check("2.1"); x = 1', 'recheck("2.1")', "check(2.1)"):
        assert grade.role(new_code_cell(source)) is None


def test_copies_of_a_check_leave_only_the_last_one():
    notebook = nbformat.from_dict(BLANK)
    notebook.cells.insert(0, new_code_cell('check("2.1")'))
    notebook.cells.append(new_code_cell('check("2.5")'))
    made, notes = grade.restore(notebook, BLANK)
    assert notes == [] and sorted(roles(made)) == sorted(roles(BLANK))
    assert roles(made).index(("check", "2.1")) > roles(made).index(("answer", "2.1"))


def test_checks_of_other_lessons_do_not_count():
    notebook = nbformat.from_dict(BLANK)
    notebook.cells += [
        new_code_cell('check("1.1")'),
        new_code_cell("x", metadata={"tags": ["check:9.9"]}),
        new_code_cell("y", id="answer-9-9"),
    ]
    made, _ = grade.restore(notebook, BLANK)
    assert [
        tag
        for cell in made.cells
        for tag in cell.metadata.get("tags", [])
        if tag.startswith("check:")
    ] == [f"check:{n}" for n in NUMBERS]


def test_one_exercise_alone():
    made, _ = grade.restore(nbformat.from_dict(BLANK), BLANK)
    alone = grade.only(made, "2.3")
    assert roles(alone) == [("answer", "2.3"), ("check", "2.3")]
    assert len(alone.cells) == len(made.cells) - 8, "helper cells stay"


# ---- a folder ------------------------------------------------------------------------------------


def test_tables(tmp_path, quick):
    folder = tmp_path / "class"
    hand_in(folder, "Zoë Ä/02.ipynb", "2.1", "2.5")
    hand_in(folder, "bob/first.ipynb", "2.2")
    hand_in(folder, "bob/second.ipynb", "2.2", "2.3")
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("a lesson")]), folder / "bob" / "lesson.ipynb"
    )
    (folder / "eve").mkdir()
    (folder / "eve" / "x.ipynb").write_bytes(b"\xff\x00")
    (folder / "eve" / "y.ipynb").write_text('{"nbformat": 4, "cells": [1]}')
    (folder / "fay").mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), folder / "fay" / "x.ipynb")
    grade.grade_folder(folder, tmp_path / "out", jobs=2)
    table = rows(tmp_path / "out")
    assert [table["Zoë Ä"][n] for n in [*NUMBERS, "total", "of"]] == [
        "1",
        "0",
        "0",
        "0",
        "3",
        "4",
        "10",
    ]
    assert table["bob"]["total"] == "4" and table["bob"]["notes"].count("notebook") == 1
    assert table["eve"]["total"] == "0" and table["eve"]["notes"].count("could not be read") == 2
    assert "holds no exercise" in table["fay"]["notes"]
    page = (tmp_path / "out" / "feedback" / "Zoë Ä.md").read_text(encoding="utf-8")
    assert (
        page.startswith("# Zoë Ä: 4 of 10 points") and "Exercise 2.2: not passed yet. Hm." in page
    )
    assert len(list((tmp_path / "out" / "feedback").iterdir())) == 4


def test_an_interrupted_run_goes_on(tmp_path, quick, monkeypatch):
    folder, asked, real = tmp_path / "class", [], grade.grade
    for k in range(6):
        hand_in(folder, f"s{k}.ipynb", "2.1", first=f"x = {k}")

    def interrupted(submission, blanks, place):
        asked.append(submission.notebook.cells[0].source.split("\n")[0])
        if len(asked) == 4:
            raise KeyboardInterrupt
        return real(submission, blanks, place)

    monkeypatch.setattr(grade, "grade", interrupted)
    with pytest.raises(KeyboardInterrupt):
        grade.grade_folder(folder, tmp_path / "out", jobs=1)
    assert {f"x = {student[1:]}" for student in rows(tmp_path / "out")} <= set(asked[:3])
    first = asked[:3]
    grade.grade_folder(folder, tmp_path / "out", jobs=1)
    assert len(rows(tmp_path / "out")) == 6
    assert not set(first) & set(asked[4:]), "what was finished is not run again"
    again = len(asked)
    grade.grade_folder(folder, tmp_path / "out", jobs=1)
    assert len(asked) == again
    hand_in(folder, "s0.ipynb", "2.1", "2.5", first="x = 0")
    grade.grade_folder(folder, tmp_path / "out", jobs=1)
    assert asked[again:] == ["x = 0"] and rows(tmp_path / "out")["s0"]["total"] == "4"


def sleeps(*_):
    """A judge that never comes to an end."""
    time.sleep(600)


@pytest.mark.slow
def test_interrupted_judges_end_and_give_no_verdicts(tmp_path, monkeypatch):
    """Ctrl-C while two judges run and four wait: nothing new is started, nothing is kept."""
    folder, alone = tmp_path / "class", []
    for k in range(6):
        hand_in(folder, f"s{k}.ipynb", first=f"x = {k}")

    def interrupted(futures):
        end = time.monotonic() + 60
        while len(multiprocessing.active_children()) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(multiprocessing.active_children()) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, "judge", sleeps)
    monkeypatch.setattr(grade, "as_completed", interrupted)
    monkeypatch.setattr(grade, "only", lambda notebook, number: alone.append(number) or notebook)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grade.grade_folder(folder, tmp_path / "out", jobs=2)
    assert time.monotonic() - begun < grade.LIMITS["exercise"], "it did not wait for any limit"
    assert multiprocessing.active_children() == [] and alone == []
    assert list((tmp_path / "out" / "results").iterdir()) == [] and rows(tmp_path / "out") == {}


@pytest.mark.parametrize("started", [True, False])
def test_what_is_not_known_is_not_kept_and_is_not_zero(tmp_path, monkeypatch, started):
    """Time ran out, or the sandbox did not start: told, and tried again later."""
    runs = []

    def verdicts_of(notebook, seconds, place):
        runs.append(seconds)
        whole = seconds == grade.LIMITS["notebook"] and started
        return grade.Run({n: (True, "") for n in NUMBERS[:2] if whole}, "no time", started)

    monkeypatch.setattr(grade, "verdicts_of", verdicts_of)
    hand_in(tmp_path / "class", "ann.ipynb")
    for count in (1, 2):
        results = grade.grade_folder(tmp_path / "class", tmp_path / "out", jobs=1)
        row = rows(tmp_path / "out")["ann"]
        assert [row[n] for n in NUMBERS[2:]] == ["not graded"] * 3
        assert row["total"] == ("3" if started else "not graded")
        assert row["notes"] == "not graded: no time; the next run tries it again"
        page = (tmp_path / "out" / "feedback" / "ann.md").read_text(encoding="utf-8")
        assert "not graded" in page.splitlines()[0]
        assert not any(map(grade.is_graded, results.values()))
        assert len(runs) == (4 if started else 1) * count
        assert list((tmp_path / "out" / "results").iterdir()) == []


def test_what_fails_for_one_fails_for_no_other(tmp_path, quick, monkeypatch):
    real = grade.grade

    def failing(submission, blanks, place):
        if submission.notebook.cells[0].source.startswith("x = 1"):
            raise OSError(24, "Too many open files")
        return real(submission, blanks, place)

    monkeypatch.setattr(grade, "grade", failing)
    for k in range(3):
        hand_in(tmp_path / "class", f"s{k}.ipynb", "2.1", first=f"x = {k}")
    grade.grade_folder(tmp_path / "class", tmp_path / "out", jobs=1)
    table = rows(tmp_path / "out")
    assert [table[f"s{k}"]["total"] for k in range(3)] == ["1", "not graded", "1"]
    assert table["s1"]["notes"].startswith("not graded: OSError: [Errno 24]")
    monkeypatch.setattr(grade, "grade", real)
    grade.grade_folder(tmp_path / "class", tmp_path / "out", jobs=1)
    assert rows(tmp_path / "out")["s1"]["total"] == "1"


def test_the_last_attempt_counts_and_the_row_says_so(tmp_path, quick):
    folder = tmp_path / "class"
    for k, right in enumerate((["2.1"], ["2.1", "2.5"], ["2.2"])):
        hand_in(folder, f"ann/try{k}.ipynb", *right, first=f"x = {k}")
        os.utime(folder / "ann" / f"try{k}.ipynb", (1e9 - k, 1e9 - k))
    for name in ("bob_02_numerical_methods.ipynb", "bob_02_numerical_methods-1.ipynb"):
        hand_in(folder, name, *(["2.1"] if "-1" in name else []), first=name)
        os.utime(folder / name, (1e9, 1e9))
    grade.grade_folder(folder, tmp_path / "out", jobs=1)
    table = rows(tmp_path / "out")
    assert table["ann"]["total"] == "1"
    assert table["ann"]["notes"].startswith(
        "3 notebooks of lesson 02: the last, try0.ipynb of 2001"
    )
    assert table["bob"]["total"] == "1" and "2 notebooks" in table["bob"]["notes"]


def test_similar_names_have_pages_of_their_own(tmp_path, quick):
    hand_in(tmp_path / "class", "a b.ipynb", "2.1")
    hand_in(tmp_path / "class", "a_b.ipynb")
    grade.grade_folder(tmp_path / "class", tmp_path / "out", jobs=1)
    pages = [
        page.read_text(encoding="utf-8").splitlines()[0]
        for page in sorted((tmp_path / "out" / "feedback").iterdir())
    ]
    assert pages == ["# a b: 1 of 10 points", "# a_b: 0 of 10 points"]


@pytest.mark.slow
def test_mistakes_on_the_command_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for argument, text in (("nowhere", "is not a folder"), ("empty", "there is no submission in")):
        command = [sys.executable, "-m", "chapter_checks.grading.grade", str(tmp_path / argument)]
        command.append("--unprotected")
        run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert run.returncode == 2 and text in run.stderr and "Traceback" not in run.stderr


def test_without_a_sandbox_nothing_is_graded_unless_asked_for(tmp_path, monkeypatch, capsys):
    hand_in(tmp_path / "class", "ann.ipynb")
    monkeypatch.setattr(sandbox.shutil, "which", lambda program: None)
    for options in ([], ["--image", "course"]):
        monkeypatch.setattr(sys, "argv", ["grade", str(tmp_path / "class"), *options])
        assert grade.main() == 3
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "Traceback" not in said
        assert options or "--unprotected" in said
        assert not (tmp_path / "class-graded").exists()


def test_a_sandbox_that_does_not_start_is_told_once(tmp_path, monkeypatch, capsys):
    hand_in(tmp_path / "class", "ann.ipynb")
    monkeypatch.setattr(sandbox, "bubblewrap", lambda hidden: sandbox.unprotected)
    failed = grade.Run({}, "the sandbox did not start: no namespaces", started=False)
    monkeypatch.setattr(grade, "verdicts_of", lambda *given: failed)
    monkeypatch.setattr(sys, "argv", ["grade", str(tmp_path / "class")])
    assert grade.main() == 3
    said = capsys.readouterr().err
    assert said.startswith("the sandbox did not start: no namespaces. Nothing was graded.")
    assert not (tmp_path / "class-graded").exists()


def test_the_number_of_problems_and_the_status(tmp_path, monkeypatch, capsys):
    hand_in(tmp_path / "class", "ann.ipynb")
    failed = grade.Run({}, "no memory", started=False)
    monkeypatch.setattr(grade, "verdicts_of", lambda *given: failed)
    monkeypatch.setattr(sys, "argv", ["grade", str(tmp_path / "class"), "--unprotected"])
    assert grade.main() == 1
    said = capsys.readouterr().out
    assert said.startswith("Unprotected: ") and "1 not graded (no memory)" in said


@pytest.mark.parametrize("program", ["podman", "docker"])
def test_a_container_has_the_same_profile(tmp_path, monkeypatch, program):
    found = {program: f"/bin/{program}"}
    monkeypatch.setattr(sandbox.shutil, "which", found.get)
    place = sandbox.container("course", 300)(tmp_path)
    assert place.command[:2] == [f"/bin/{program}", "run"]
    for option in ("--network=none", "--read-only", "--cap-drop=ALL", "--user=1000:1000"):
        assert option in place.command
    mounted = [option for option in place.command if option.startswith("--volume")]
    assert mounted == [f"--volume={tmp_path}/library:/library:ro"]
    for option in ("--memory=", "--pids-limit=", "--shm-size=", "--tmpfs=/tmp:size="):
        assert any(one.startswith(option) for one in place.command)
    assert place.command[place.command.index("course") + 1] == "timeout"


def test_the_workflow_file_is_one():
    path = ROOT / "chapter_checks" / "grading" / "classroom.yml"
    workflow = yaml.safe_load(path.read_text())
    steps = workflow["jobs"]["check"]["steps"]
    assert any(
        "chapter_checks.grading.grade ../class --out ../graded" in step.get("run", "")
        for step in steps
    )
    assert json.dumps(workflow["env"]) == json.dumps({"COURSE": builder.build.REPOSITORY})


def test_an_answer_under_the_number_of_an_earlier_release_gets_a_sentence():
    """Lesson 4 was split: 4.2 to 4.6 are exercises of lesson 9 now."""
    for old, (new, function) in grade.MOVED.items():
        assert f"def {function}(" in next(
            cell.source
            for cell in builder.generate(next(builder.SOURCE.glob("09_*.py")), "blank").cells
            if grade.role(cell) == ("answer", new)
        )
        cell = new_code_cell(f"def {function}(*given):\n    return 1")
        cell.metadata["tags"] = [f"answer:{old}"]
        data = nbformat.writes(new_notebook(cells=[cell])).encode()
        blank = builder.generate(next(builder.SOURCE.glob("04_*.py")), "blank")
        found = grade.opened(Submission("ann", f"{old}.ipynb", 0.0, data), {"04": blank})
        (note,) = [n for n in found.notes if "earlier release" in n]
        assert f"exercise {old} " in note and f"exercise {new}:" in note and "lesson 9" in note
        cell.source = "def another(x):\n    return 1"
        assert grade.moved(new_notebook(cells=[cell])) == []
