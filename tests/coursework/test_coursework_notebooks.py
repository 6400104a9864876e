"""The coursework notebooks: built from their sources, blank, solved, with wrong answers inside.

And what students receive: without a trace of a solution.
"""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

import answers
import build_coursework as builder
from chapter_checks.engine import EXERCISES, NOT_YET, PASSED, find
from chapter_checks.grading.grade import role
from lesson import ROOT

SOURCES = builder.sources()
NAMES = [path.stem for path in SOURCES]
each_source = pytest.mark.parametrize("path", SOURCES, ids=NAMES)


def exercises_of(path):
    notebook = builder.generate(path, "blank")
    return [found[1] for cell in notebook.cells if (found := role(cell)) and found[0] == "check"]


# ---- built ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", builder.TARGETS)
@each_source
def test_notebook_is_what_its_source_describes(path, version):
    text = nbformat.writes(builder.generate(path, version)) + "\n"
    assert (builder.TARGETS[version] / f"{path.stem}.ipynb").read_text(encoding="utf-8") == text, (
        "run make notebooks"
    )
    assert text == nbformat.writes(builder.generate(path, version)) + "\n"


def test_every_lesson_has_its_coursework_and_nothing_else_is_there():
    lessons = [path.stem for path in builder.build.lessons()]
    assert lessons == NAMES
    for folder in builder.TARGETS.values():
        assert sorted(path.stem for path in folder.glob("*.ipynb")) == NAMES
    assert sum(len(exercises_of(path)) for path in SOURCES) >= 35


@each_source
def test_exercises_are_complete(path):
    number = str(int(path.stem[:2]))
    numbers = exercises_of(path)
    assert numbers == [f"{number}.{k}" for k in range(1, len(numbers) + 1)] and len(numbers) >= 3
    checks = [n for n in EXERCISES if n.split(".")[0] == number and n[-1].isdigit()]
    assert checks == numbers, "checks and exercises are the same"
    asked = re.findall(r"Exercise (\d+\.\d+)", (builder.build.LESSONS / path.name).read_text())
    assert {n for n in asked if n.split(".")[0] == number} == set(numbers), (
        "the lesson points to each exercise, and to none that does not exist"
    )
    parts = re.split(r"^# ## Exercise ", path.read_text(), flags=re.M)[1:]
    for part in parts:
        name = part.split()[0]
        assert (
            "*Why it matters: " in part
            and part.count("<details><summary>Hint") == part.count("</details>") >= 1
        ), name
        assert f'if passed("{name}"):' in part, f"{name} has no cell that uses its answer"
    assert all(0 < find(n).points <= 5 and 0 < find(n).minutes <= 40 for n in numbers)


def test_a_solution_region_is_replaced_by_a_stub_or_by_the_given_lines():
    text = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION"
    assert builder.answer(text, "Exercise 9.1", True) == "def f():\n    return 1"
    assert (
        builder.answer(text, "Exercise 9.1", False)
        == 'def f():\n    raise NotImplementedError("Exercise 9.1")  # replace this line'
    )
    text = "### BEGIN SOLUTION\na = 1\n### GIVEN a = ...\n### END SOLUTION"
    assert (
        builder.answer(text, "Exercise 9.1", True),
        builder.answer(text, "Exercise 9.1", False),
    ) == (
        "a = 1",
        "a = ...",
    )
    for broken in (
        "x = 1",
        "### BEGIN SOLUTION",
        "### END SOLUTION",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
    ):
        with pytest.raises(ValueError, match=r"Exercise 9\.1"):
            builder.answer(broken, "Exercise 9.1", True)


def test_a_changed_source_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        builder, "TARGETS", {version: tmp_path / version for version in builder.TARGETS}
    )
    monkeypatch.setattr(builder.build, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(builder, "sources", lambda: SOURCES[:1])
    monkeypatch.setattr(sys, "argv", ["build", "--check"])
    assert builder.main() == 1
    monkeypatch.setattr(sys, "argv", ["build"])
    assert builder.main() == 0
    monkeypatch.setattr(sys, "argv", ["build", "--check"])
    capsys.readouterr()
    assert builder.main() == 0 and capsys.readouterr().out == ""
    target = tmp_path / "blank" / f"{NAMES[0]}.ipynb"
    target.write_text(target.read_text().replace("Exercise", "exercise", 1))
    assert builder.main() == 1 and "run make notebooks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["02", "99"], "no coursework is numbered 99"),
        (["02", "--release", "x.zip"], "leave the numbers out"),
    ],
)
def test_mistakes_on_the_command_line(arguments, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build", *arguments])
    with pytest.raises(SystemExit):
        builder.main()
    assert text in capsys.readouterr().err


# ---- run (the solved notebooks run with all others, strictly and judged: see the Makefile) -------


@pytest.fixture(scope="module")
def blank_run(tmp_path_factory):
    """Every blank notebook under nbval, as a student would run it: [(notebook, messages)]."""
    report = tmp_path_factory.mktemp("blank") / "report.xml"
    options = [
        "-p",
        "chapter_checks.grading.nbval_plugin",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=120",
    ]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        f"--junitxml={report}",
        "notebooks/coursework",
    ]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 1, run.stdout + run.stderr
    cases = [
        (
            case.get("classname").split(".")[-2],
            [part.get("message") for part in case if part.tag != "properties"],
        )
        for case in ET.parse(report).iter("testcase")
    ]
    return cases, run.stdout


@pytest.mark.slow
@each_source
def test_blank_notebook_fails_exactly_on_its_checks(path, blank_run):
    cases, output = blank_run
    cells = [cell for cell in builder.generate(path, "blank").cells if cell.cell_type == "code"]
    outcomes = [failures for name, failures in cases if name == path.stem]
    assert len(outcomes) == len(cells)
    for cell, failures in zip(cells, outcomes, strict=True):
        assert bool(failures) == (role(cell) is not None and role(cell)[0] == "check"), cell.source
    for number in exercises_of(path):
        assert f"Exercise {number}: not started. " in output


def text_of_outputs(cell):
    return "".join(out.get("text", "") or out.get("evalue", "") for out in cell.outputs)


@pytest.mark.slow
@each_source
def test_wrong_answers_in_the_notebook_fail_alone(path):
    """Each wrong answer of the zoo in its cell: its check fails with its hint, all others pass."""
    start, zoo = answers.read(f"lesson_{path.stem[:2]}")
    solved = builder.generate(path, "solved")
    right = {
        found[1]: cell.source
        for cell in solved.cells
        if (found := role(cell)) and found[0] == "answer"
    }
    wrong = [answer for answer in zoo if not answer.right]
    for answer in wrong:
        others = "\n".join(f'check("{number}")' for number in right if number != answer.number)
        for source in (
            f"{start}\n{answer.code}",
            f'check("{answer.number}")',
            others,
            right[answer.number],
        ):
            solved.cells.append(new_code_cell(source))
    options = {
        "timeout": 120,
        "kernel_name": "python3",
        "resources": {"metadata": {"path": str(builder.build.NOTEBOOKS)}},
    }
    NotebookClient(solved, allow_errors=True, **options).execute()
    added = solved.cells[-4 * len(wrong) :]
    for k, answer in enumerate(wrong):
        _, own, others, _ = (text_of_outputs(cell) for cell in added[4 * k : 4 * k + 4])
        assert own.startswith(f"Exercise {answer.number}: {NOT_YET}. ") and answer.hint in own, (
            answer.label
        )
        assert others == "".join(
            f"Exercise {number}: {PASSED}\n" for number in right if number != answer.number
        ), answer.label


# ---- released ------------------------------------------------------------------------------------


def test_students_receive_lessons_and_exercises_and_nothing_with_solutions(bundle):
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {f"notebooks/coursework/{name}.ipynb" for name in NAMES} | {
        "Makefile",
        "chapter_utils/house.mplstyle",
    } <= files
    assert {f"notebooks/{path.name}" for path in builder.build.NOTEBOOKS.glob("*.ipynb")} <= files
    assert not [name for name in files if re.search("solution|source|zoo|test|build", name)]


def test_the_readme_and_the_makefile_of_students_promise_only_what_is_there(bundle):
    readme, makefile = (
        (bundle / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile")
    )
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in link]
    assert len(links) >= 5 and [link for link in links if not (bundle / link).exists()] == []
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.M))
    assert targets == {"lab", "venv", "grade"}
    assert set(re.findall(r"\bmake ([a-z]+)", readme + makefile)) <= targets | {"again"}
    assert not re.search(r"^include|\bpytest\b|\[dev\]|[\w/]+\.py\b", makefile, re.M), (
        "no file that students do not have"
    )
    for target in targets:
        command = ["make", "-n", target, "SUBMISSIONS=class"]
        run = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
        assert run.returncode == 0 and "pip install" in run.stdout, run.stderr


def solution_lines():
    """Every line of a solution that says something.

    No comments, no headers of blocks, no opened brackets, no short ones.
    """
    for path in SOURCES:
        for region in re.findall(rf"{builder.BEGIN}\n(.*?){builder.END}", path.read_text(), re.S):
            for line in map(str.strip, region.splitlines()):
                if (
                    len(line) > 24
                    and line[-1] not in "([{"
                    and not re.match(r"#|for |def |if |while |with |import |from |assert ", line)
                ):
                    yield path.stem, line


def test_no_solution_line_in_what_students_receive(bundle):
    texts = {}
    for path in bundle.rglob("*"):
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            texts[path.relative_to(bundle)] = "\n".join(
                cell.source + text_of_outputs(cell) if "outputs" in cell else cell.source
                for cell in cells
            )
        elif path.is_file() and path.suffix not in (".png", ".gif"):
            texts[path.relative_to(bundle)] = path.read_text(encoding="utf-8")
    lines = list(solution_lines())
    assert len(lines) >= 2 * len(SOURCES)
    assert [
        (lesson, line, name)
        for lesson, line in lines
        for name, text in texts.items()
        if line in text
    ] == []


def test_the_bundle_works_on_its_own(bundle):
    """Its package checks answers, and there is nothing to fall back on in this checkout."""
    code = (
        "import chapter_utils; from chapter_checks import check\n"
        f"assert chapter_utils.__file__.startswith({str(bundle)!r})\n"
        "steps_to_double = lambda h, omega: 140\n"
        "try:\n    check('2.1')\n"
        "except AssertionError as verdict:\n    print(verdict)"
    )
    environment = os.environ | {"PYTHONPATH": str(bundle)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=bundle,
        check=True,
    )
    assert run.stdout.startswith("Exercise 2.1: not passed yet. ")
