"""The zoo: right and wrong answers, one cell an answer; two files a lesson.

lesson_02.py answers the coursework of lesson 2, turns_02.py its *your turn* cells ("2.A").

# %% 2.1 right: name            an answer that the check must accept
# %% 2.1 wrong: name -> hint    one that it must refuse with a verdict that contains the hint

What stands before the first such line is run before every answer.
"""

import re
from pathlib import Path
from typing import NamedTuple

import jupytext

import build

ZOO = Path(__file__).parent / "zoo"
HEAD = re.compile(r"^# %% (\d+\.(?:\d+|[A-Z])) (right|wrong): (.+)$", re.M)


class Answer(NamedTuple):
    number: str
    right: bool
    name: str
    hint: str
    code: str

    @property
    def label(self) -> str:
        return f"{self.number} {'right' if self.right else 'wrong'}: {self.name}"


def files(kind: str = "lesson") -> list[str]:
    """The files of that kind: "lesson_02", ... or "turns_02", ..."""
    return sorted(path.stem for path in ZOO.glob(f"{kind}_*.py"))


def read(name: str) -> tuple[str, list[Answer]]:
    """What is run before every answer of this file, and the answers."""
    start, *parts = HEAD.split((ZOO / f"{name}.py").read_text(encoding="utf-8"))
    answers = []
    for number, kind, name, code in zip(*[iter(parts)] * 4, strict=True):
        name, _, hint = name.partition(" -> ")
        if (kind == "wrong") != bool(hint):
            raise ValueError(
                f"{number} {kind}: {name}: a wrong answer, and no right one, needs -> and its hint"
            )
        answers.append(Answer(number, kind == "right", name, hint, code.strip() + "\n"))
    return start, answers


def in_the_lesson(lesson: str) -> list[Answer]:
    """The solutions that lesson "02" shows, folded below its *your turn* cells."""
    (path,) = build.LESSONS.glob(f"{lesson}_*.py")
    found = []
    for cell in jupytext.read(path, fmt="py:percent").cells:
        if build.blanks.BEGIN in cell.source:
            number = build.turn_in(cell.source)
            found.append(Answer(number, True, "in the lesson", "", build.solution_in(cell.source)))
    return found
