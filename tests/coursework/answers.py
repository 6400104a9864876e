"""The zoo: right and wrong answers, one file a lesson, one cell an answer.

# %% 2.1 right: name            an answer that the check must accept
# %% 2.1 wrong: name -> hint    one that it must refuse with a verdict that contains the hint

What stands before the first such line is run before every answer.
"""

import re
from pathlib import Path
from typing import NamedTuple

ZOO = Path(__file__).parent / "zoo"
HEAD = re.compile(r"^# %% (\d+\.\d+) (right|wrong): (.+)$", re.M)


class Answer(NamedTuple):
    number: str
    right: bool
    name: str
    hint: str
    code: str

    @property
    def label(self) -> str:
        return f"{self.number} {'right' if self.right else 'wrong'}: {self.name}"


def lessons() -> list[str]:
    """The lessons with a zoo: "02", ..."""
    return sorted(path.stem.removeprefix("lesson_") for path in ZOO.glob("lesson_*.py"))


def read(lesson: str) -> tuple[str, list[Answer]]:
    """What is run before every answer of this lesson's zoo, and the answers."""
    start, *parts = HEAD.split((ZOO / f"lesson_{lesson}.py").read_text(encoding="utf-8"))
    answers = []
    for number, kind, name, code in zip(*[iter(parts)] * 4, strict=True):
        name, _, hint = name.partition(" -> ")
        if (kind == "wrong") != bool(hint):
            raise ValueError(
                f"{number} {kind}: {name}: a wrong answer, and no right one, needs -> and its hint"
            )
        answers.append(Answer(number, kind == "right", name, hint, code.strip() + "\n"))
    return start, answers
