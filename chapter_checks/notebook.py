"""What a notebook calls: `check` and `passed` in coursework, `your_turn` and `reply` in lessons."""

import sys
from numbers import Real
from typing import Any

from . import engine
from .bench import Bench
from .engine import NOTEBOOK_SEED, PASSED, CheckFailed, called, find

_outcomes: dict[str, bool] = {}


def check(number: str, seed: int = NOTEBOOK_SEED) -> None:
    """Check an exercise of the notebook that calls this: prints "passed", or raises CheckFailed."""
    check_names(number, sys._getframe(1).f_globals, seed)


def your_turn(number: str, seed: int = NOTEBOOK_SEED) -> None:
    """Check the cell of a lesson that calls this: prints the verdict, never stops "Run all"."""
    try:
        check_names(number, sys._getframe(1).f_globals, seed)
    except CheckFailed as verdict:
        print(verdict)


def check_names(number: str, names: dict[str, Any], seed: int) -> None:
    _outcomes[find(number).number] = False
    engine.run_check(number, Bench(names), seed)
    _outcomes[number] = True
    print(f"{called(number)}: {PASSED}")


def passed(number: str) -> bool:
    """Whether the last check of this exercise was passed, for cells that use its answer."""
    return _outcomes.get(find(number).number, False)


def reply(
    guess: Any,
    answer: float | str,
    because: str,
    wrong: dict[float | str, str] | None = None,
    within: float = 0.02,
) -> None:
    """Answer a prediction: whether it is right, why a typical wrong one is not, and the reason.

    A guess of a number is right, or is one of the typical `wrong` ones, if it is as close as
    `within` times their size. Words are compared without regard to capitals.
    """
    if guess is None or guess is ...:
        print(f"You made no guess. {because}")
    elif same(guess, answer, within):
        print(f"Your guess, {guess}, is right. {because}")
    else:
        reasons = [why for typical, why in (wrong or {}).items() if same(guess, typical, within)]
        said = reasons[0] if reasons else f"the answer is {answer}."
        print(f"Your guess was {guess}: {said} {because}")


def same(guess: Any, value: float | str, within: float) -> bool:
    """Whether a guess, which may be anything, is this number or word."""
    if isinstance(value, str):
        return str(guess).strip().casefold() == value.casefold()
    if isinstance(guess, bool) or not isinstance(guess, Real):
        return False
    return abs(guess - value) <= within * abs(value)
