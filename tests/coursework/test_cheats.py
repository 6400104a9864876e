"""One class of submissions: honest, unlucky and dishonest ones, graded by one command."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_sandbox import works

import answers
import build_coursework
from chapter_checks import engine
from chapter_checks.grading import grade, sandbox

pytestmark = pytest.mark.slow

IMPORTS = """import math
import torch
from chapter_utils import ode
from chapter_checks import check, passed"""
_, ZOO = answers.read("lesson_02")
RIGHT = {
    number: next(a.code for a in ZOO if a.number == number and a.right) for number in ("2.1", "2.5")
}
WRONG = "def steps_to_double(h, omega):\n    return 140\n"
VERDICT = "Exercise 2.1: passed"


def notebook(first=RIGHT["2.1"], second=RIGHT["2.5"], *, before="", check='check("2.1")', tags=()):
    """A submission with the exercises 2.1 and 2.5 of lesson 2."""
    cells = [new_code_cell(IMPORTS, id="c02-002")]
    if before:
        cells.append(new_code_cell(before))
    for number, code in (("2.1", first), ("2.5", second)):
        place = number.replace(".", "-")
        cells.append(
            new_code_cell(code, id=f"answer-{place}", metadata={"tags": [f"answer:{number}"]})
        )
        text = check if number == "2.1" else f'check("{number}")'
        cells.append(
            new_code_cell(text, id=f"check-{place}", metadata={"tags": [f"check:{number}"]})
        )
    cells[-3].metadata["tags"] += list(tags)
    return new_notebook(cells=cells, metadata=build_coursework.build.METADATA, nbformat_minor=5)


def changed(change, **options):
    made = notebook(**options)
    change(made)
    return made


def memorised():
    """Right exactly for the inputs of the notebook's seed."""
    table = {}

    class Listens(engine.Bench):
        def ask(self, request):
            reply = super().ask(request)
            table[tuple(request["arguments"])] = reply["value"]
            return reply

    exec(f"import math\n{RIGHT['2.1']}", names := {})
    engine.run_check("2.1", Listens(names), engine.NOTEBOOK_SEED)
    return f"""table = {table!r}

def steps_to_double(h, omega):
    return table.get((h, omega), 140)
"""


def delete_check(made):
    del made.cells[-3]


def to_markdown(made):
    made.cells[-3] = new_markdown_cell(
        made.cells[-3].source, id=made.cells[-3].id, metadata=made.cells[-3].metadata
    )


PRINTS = f'print("{VERDICT}")'
SHELL = """from IPython.core.interactiveshell import InteractiveShell
from ipykernel.zmqshell import ZMQInteractiveShell
"""
HIDES = (
    SHELL
    + "InteractiveShell.showtraceback = ZMQInteractiveShell.showtraceback = lambda *a, **k: {}"
)
FAKE = f"""import sys, types
fake = types.ModuleType('x')
fake.check = check = lambda *a, **k: {PRINTS}
"""
CHEATS = {
    "prints the verdict": notebook(WRONG + PRINTS),
    "edits the check cell": notebook(WRONG, check=PRINTS),
    "deletes the check cell": changed(delete_check, first=WRONG),
    "turns the check cell into text": changed(to_markdown, first=WRONG),
    "breaks the check cell with a magic": notebook(WRONG, check='%nosuchmagic\ncheck("2.1")'),
    "switches tracebacks off": notebook(WRONG, before=HIDES.format("None")),
    "prints the verdict as traceback": notebook(WRONG, before=HIDES.format(PRINTS)),
    "redefines check": notebook(WRONG, before=f"def check(number):\n    {PRINTS}"),
    "replaces the engine": notebook(
        WRONG, before="from chapter_checks import engine\nengine.run_check = lambda *a, **k: None"
    ),
    "replaces the check": notebook(
        WRONG,
        before="from chapter_checks import engine\n"
        "engine.EXERCISES['2.1'] = engine.find('2.1')._replace(run=lambda attempt: None)",
    ),
    "replaces the verdicts": notebook(
        WRONG,
        before="from chapter_checks import engine\n"
        "engine.Attempt.require = engine.Attempt.fail = lambda *a, **k: None",
    ),
    "replaces the mathematics": notebook(
        WRONG,
        before="import builtins\nround = builtins.round = lambda n: n\n"
        "from chapter_checks import engine\nengine.Attempt.number = lambda *a: math.inf",
    ),
    "answers the judge itself": notebook(
        WRONG,
        before="from chapter_checks import bench, engine\n"
        "engine.run_check = lambda *a, **k: None\n"
        'bench.serve = lambda *a: \'{"value": 140, "passed": true}\'',
    ),
    "wins every comparison": notebook(
        "class Wins(float):\n    def __eq__(self, other):\n        return True\n"
        "    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n    __hash__ = None\n\n"
        "def steps_to_double(h, omega):\n    return Wins(140)"
    ),
    "learned the notebook's inputs by heart": notebook(memorised()),
    "looks for the solutions": notebook(
        "from pathlib import Path\nimport chapter_utils, json\n"
        "root = Path(chapter_utils.__file__).parents[1]\n"
        "(found,) = root.rglob('solutions/02*.ipynb')\n"
        "for cell in json.loads(found.read_text())['cells']:\n"
        "    if cell['id'] == 'answer-2-1':\n        exec(''.join(cell['source']))"
    ),
    "brings its own package": notebook(WRONG, before=f"{FAKE}sys.modules['chapter_checks'] = fake"),
    "rewrites the check on disk": notebook(
        WRONG,
        before="from chapter_checks.exercises import lesson_02\n"
        "open(lesson_02.__file__, 'w').write('')\n"
        "from chapter_checks import engine\nengine.run_check = lambda *a: None",
    ),
    "writes to the judge": notebook(
        WRONG,
        before="import os, psutil\nfor one in psutil.process_iter():\n"
        "    for k in range(20):\n        try:\n"
        "            with open(f'/proc/{one.pid}/fd/{k}', 'w') as pipe:\n"
        '                pipe.write(\'["verdict", "2.1", true, "", false]\\n\')\n'
        "        except OSError:\n            pass",
    ),
    "plants a verdict": notebook(
        WRONG,
        before="from pathlib import Path\n"
        "for folder in Path('/').glob('tmp/**/results'):\n"
        "    for k in range(9):\n"
        """        (folder / f'{k}.json').write_text('{"verdicts": {"2.1": [true, ""]}}')""",
    ),
}


# These write wherever they can: never outside a sandbox, where they destroy what they find.
HARMFUL = {"writes to the judge", "plants a verdict"}


def is_tried(name):
    return name not in HARMFUL or works()


def without(*keys):
    def change(made):
        for cell in made.cells:
            if "id" in keys:
                cell.pop("id")
            if "tags" in keys:
                cell.metadata.pop("tags", None)
        made.nbformat_minor = 4 if "id" in keys else 5

    return change


def stale_outputs(made):
    for cell in made.cells:
        cell.outputs = [new_output("stream", name="stdout", text="something old\n")]
    made.cells[1].execution_count = 7


def copied_checks(made):
    made.cells.insert(1, new_code_cell('check("2.1")'))
    made.cells.append(new_code_cell(made.cells[-1].source, metadata=made.cells[-1].metadata))


def odd_kernel(made):
    made.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "conda-env-xyz-py", "display_name": "xyz", "language": "python"}}
    )


def split_answer(made):
    made.cells.insert(2, new_code_cell("def factor(a):\n    return (1 + a * a) ** 0.5"))
    made.cells[1].source = "# my answer is below"
    made.cells.insert(
        3,
        new_code_cell(
            "def steps_to_double(h, omega):\n"
            "    return math.ceil(math.log(2) / math.log(factor(h * omega)))"
        ),
    )


NOISE = """

quiet_one = steps_to_double

def steps_to_double(h, omega):
    import warnings
    print('debug', h)
    warnings.warn('hm')
    return quiet_one(h, omega)
"""
HONEST = {
    "plain": notebook(),
    "debug prints and warnings": notebook(RIGHT["2.1"] + NOISE),
    "ids lost": changed(without("id")),
    "ids and tags lost": changed(without("id", "tags")),
    "answer in extra cells": changed(split_answer),
    "check cells copied": changed(copied_checks),
    "old outputs without counts": changed(stale_outputs),
    "shell and magics": notebook(
        before="!echo hello\n%precision 3\n%config InlineBackend.figure_format = 'png'"
    ),
    "unknown kernel": changed(odd_kernel),
    "check inside the answer": notebook(RIGHT["2.1"] + '\n\ncheck("2.1")'),
    "tags and comments of nbval": notebook(
        "# NBVAL_RAISES_EXCEPTION\n" + RIGHT["2.1"], tags=["nbval-skip"]
    ),
    "a variable of that name": notebook(before="passed = 1", second=RIGHT["2.5"] + "\ncheck = 2"),
}
UNLUCKY = {  # 2.1 cannot be right, 2.5 is
    "wrong": notebook(WRONG),
    "ends the kernel": notebook(RIGHT["2.1"] + "\nimport os\nos._exit(1)"),
    "loops in the cell": notebook(
        RIGHT["2.1"].replace("steps", "other") + "\nwhile True:\n    pass"
    ),
    "loops in the function": notebook(
        "def steps_to_double(h, omega):\n    while True:\n        pass"
    ),
    "loops and cannot be stopped": notebook(
        "def steps_to_double(h, omega):\n    while True:\n        try:\n"
        "            while True:\n                pass\n"
        "        except BaseException:\n            pass"
    ),
    "syntax error": notebook("def steps_to_double(h, omega)\n    return 1"),
    "deleted": changed(lambda made: made.cells.pop(1)),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """All of them, graded at once; the limits are shorter than in earnest."""
    folder = tmp_path_factory.mktemp("class")
    for kind, group in {"cheat": CHEATS, "honest": HONEST, "unlucky": UNLUCKY}.items():
        for name, made in group.items():
            if not is_tried(name):
                continue
            place = folder / f"{kind} {name}"
            place.mkdir()
            (place / "02_numerical_methods.ipynb").write_text(json.dumps(made), encoding="utf-8")
    (folder / "corrupt").mkdir()
    (folder / "corrupt" / "x.ipynb").write_bytes(b'{"cells": [\xff')
    (folder / "empty").mkdir()
    (folder / "empty" / "x.ipynb").write_text("")
    blank = tmp_path_factory.mktemp("blank")
    stubs = {n: f'raise NotImplementedError("Exercise {n}")' for n in RIGHT}
    nbformat.write(notebook(*stubs.values()), blank / "02_numerical_methods.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grade, "LIMITS", {"cell": 20, "notebook": 200, "exercise": 100})
        out = tmp_path_factory.mktemp("out")
        place = sandbox.unprotected
        if works():
            place = sandbox.bubblewrap([sandbox.ROOT, folder, out])
        results = grade.grade_folder(folder, out, blank, 2, place)
    return {submission.student: result for submission, result in results.items()}


def outcome(graded, student):
    return {number: passed for number, (passed, _) in graded[student]["verdicts"].items()}


def test_nobody_is_lost(graded):
    cheats = [name for name in CHEATS if is_tried(name)]
    assert len(graded) == len(cheats) + len(HONEST) + len(UNLUCKY) + 2 >= 30 and len(cheats) >= 16


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_is_not_counted(graded, name):
    if not is_tried(name):
        pytest.skip("it harms the machine: bubblewrap is missing or may not start")
    assert outcome(graded, f"cheat {name}")["2.1"] is False


@pytest.mark.parametrize("name", HONEST)
def test_honest_is_counted(graded, name):
    assert outcome(graded, f"honest {name}") == {"2.1": True, "2.5": True}, graded[f"honest {name}"]


@pytest.mark.parametrize("name", UNLUCKY)
def test_one_broken_exercise_costs_no_other(graded, name):
    assert outcome(graded, f"unlucky {name}") == {"2.1": False, "2.5": True}, graded[
        f"unlucky {name}"
    ]
    line = graded[f"unlucky {name}"]["verdicts"]["2.1"][1]
    assert line.startswith("Exercise 2.1: ") and "skipped" not in line, "no cell is left out"


@pytest.mark.parametrize("name", ["corrupt", "empty"])
def test_unreadable_files_are_reported(graded, name):
    assert graded[name]["verdicts"] == {} and "could not be read" in graded[name]["notes"][0]


def test_the_memory_cheat_is_real():
    exec(memorised(), names := {})
    engine.run_check("2.1", engine.Bench(names), engine.NOTEBOOK_SEED)


def test_the_notebook_alone_would_be_fooled():
    """Without the judge a replaced engine passes: the attack is a real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "run_check", lambda *a, **k: None)
        exec(f'from chapter_checks import check\n{WRONG}\ncheck("2.1")', {})
