"""Every check accepts every right answer and refuses every wrong one with its hint.

For the seed of the notebooks and others: SEEDS in the environment says how many, 5 if not set.
"""

import ast
import math
import os
import warnings

import pytest
import torch

import answers
from chapter_checks.engine import (
    EXERCISES,
    NOT_STARTED,
    NOT_YET,
    NOTEBOOK_SEED,
    Attempt,
    Bench,
    CheckFailed,
    Exercise,
    called,
    find,
    run_check,
)
from chapter_checks.sendable import dense_network

SEEDS = [NOTEBOOK_SEED, *range(int(os.environ.get("SEEDS", "5")) - 1)]
FILES = answers.files("lesson") + answers.files("turns")
CASES = [(answers.read(name)[0], answer) for name in FILES for answer in answers.read(name)[1]]
CASES += [
    (answers.read(name)[0], answer)
    for name in answers.files("turns")
    for answer in answers.in_the_lesson(name.removeprefix("turns_"))
]


def names_after(start: str, code: str) -> dict:
    names: dict = {"__name__": "__main__"}
    torch.set_default_dtype(torch.float64)  # as in the notebooks, and so is the single thread
    torch.set_num_threads(1)
    exec(compile(start, "<start>", "exec"), names)
    exec(compile(code, "<answer>", "exec"), names)
    return names


def verdict(number: str, names: dict, seed: int) -> str:
    try:
        run_check(number, Bench(names), seed)
    except CheckFailed as failed:
        if failed.__cause__:  # a hole in the check
            raise failed.__cause__ from None
        return str(failed)
    return "passed"


@pytest.mark.parametrize("start, answer", CASES, ids=[answer.label for _, answer in CASES])
def test_answer(start, answer):
    names = names_after(start, answer.code)
    if answer.right:
        assert {verdict(answer.number, names, seed) for seed in SEEDS} == {"passed"}
        return
    first = verdict(answer.number, names, NOTEBOOK_SEED)
    assert first.startswith(f"{called(answer.number)}: {NOT_YET}. ")
    assert answer.hint in first
    for seed in SEEDS[1:]:
        again = verdict(answer.number, names, seed)
        assert again != "passed", f"seed {seed}"


@pytest.mark.parametrize("name", FILES)
def test_the_zoo_is_large_enough(name):
    kind, lesson = name.split("_")
    of_the_lesson = f"{int(lesson)}."
    find(of_the_lesson + ("1" if kind == "lesson" else "A"))
    zoo = answers.read(name)[1]
    right, wrong = (4, 8) if kind == "lesson" else (3, 5)
    for number in EXERCISES:
        if number.startswith(of_the_lesson) and number[-1].isdigit() == (kind == "lesson"):
            mine = [answer for answer in zoo if answer.number == number]
            assert sum(answer.right for answer in mine) >= right, number
            assert sum(not answer.right for answer in mine) >= wrong, number
            assert len({answer.label for answer in mine}) == len(mine), number


class WinsEveryComparison:
    def __eq__(self, other):
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = None

    def __float__(self):
        return 0.5


def its_argument(*given):
    return given[0]


def constant(value):
    return lambda *given: value


NONSENSE = {
    "None": None,
    "text": "0.5",
    "nan": math.nan,
    "inf": math.inf,
    "0": 0.0,
    "1": 1,
    "-1": -1.0,
    "True": True,
    "complex": 1j,
    "list": [],
    "pair": (1.0, 1.0),
    "dict": {"a": 1},
    "object": object(),
    "wins": WinsEveryComparison(),
    "tensor": torch.zeros(0),
    "zero": torch.tensor(0.0),
    "nan tensor": torch.full((2, 2), math.nan),
    "function": its_argument,
    "module": torch.nn.Identity(),
    "huge int": 10**400,
    "1e308": 1e308,
    "-1e308": -1e308,
    "1e-308": 1e-308,
    "surrogate": "\ud800",
    "large tensor": torch.full((2, 2), 1e308, dtype=torch.float64),
    "complex tensor": torch.ones(2, dtype=torch.complex128),
    "odd dtype": torch.ones(2).to(torch.float8_e4m3fn),
    "sparse": torch.eye(2).to_sparse(),
    "meta": torch.empty(2, device="meta"),
    "huge ints": [10**400, (10**400,)],
    "keys": {(): [], "a": {}},
}
FIRST_RIGHT = {answer.number: (start, answer) for start, answer in reversed(CASES) if answer.right}


@pytest.mark.parametrize("number", sorted(FIRST_RIGHT))
def test_nonsense_in_place_of_one_function_is_refused(number):
    """Each function of a right answer in turn returns nonsense, or its first argument."""
    start, answer = FIRST_RIGHT[number]
    for node in ast.parse(answer.code).body:
        name = getattr(node, "name", None) or node.targets[0].id
        for kind, value in {**NONSENSE, "its argument": None}.items():
            names = names_after(start, answer.code)
            if isinstance(node, ast.Assign):
                names[name] = value
            elif kind == "its argument":
                names[name] = its_argument
            else:
                names[name] = constant(value)
            line = verdict(number, names, NOTEBOOK_SEED)
            assert line != "passed", f"{name} returns {kind}"


@pytest.mark.parametrize("number", sorted(FIRST_RIGHT))
def test_a_deleted_answer_is_missing_and_an_unset_one_not_started(number):
    start, answer = FIRST_RIGHT[number]
    assert "There is no `" in verdict(number, names_after(start, ""), NOTEBOOK_SEED)
    names = dict.fromkeys(names_after(start, answer.code), ...)
    assert verdict(number, names, NOTEBOOK_SEED).startswith(f"{called(number)}: {NOT_STARTED}. ")


@pytest.fixture
def check_of_twice(monkeypatch):
    """An exercise for these tests: `twice(x)` for a random number x between 1 and 2."""

    def check(attempt: Attempt) -> None:
        x = attempt.uniform(1.0, 2.0)
        value = attempt.number("twice", x)
        if abs(value - 2 * x) > 1e-6:
            attempt.rule_out(value, {"the square": x**2, "three times x": 3 * x}, "This is {}.")
            attempt.fail("This is not twice as much.")

    twice = Exercise("99.1", "Twice", 1, 1, check)
    monkeypatch.setitem(EXERCISES, "99.1", twice)
    return Attempt(twice, Bench({}), NOTEBOOK_SEED).uniform(1.0, 2.0)


def test_a_mistake_is_named_only_if_other_inputs_show_it_too(check_of_twice):
    first_x = check_of_twice

    def said(answer):
        return verdict("99.1", {"twice": answer}, NOTEBOOK_SEED)

    assert said(lambda x: 2 * x) == "passed"
    assert "This is the square." in said(lambda x: x * x)
    assert "This is three times x." in said(lambda x: 3 * x)
    by_chance = [first_x**2, 3 * first_x]
    for number in by_chance:
        assert "This is not twice as much." in said(constant(number))


def emptied(steps):
    return sum(steps.pop() for _ in range(len(steps)))


def overwritten(inner):
    inner[0].zero_()
    return 1.0


@pytest.mark.parametrize(
    "answer, argument",
    [
        (emptied, [1.0, 2.0]),
        (overwritten, [torch.ones(2)]),
        (lambda d: d.update(b=2) or 1.0, {"a": 1}),
        (lambda steps: steps.append(print) or 1.0, [1.0]),
    ],
)
def test_arguments_of_every_kind_stay_as_they_were(answer, argument):
    attempt = Attempt(Exercise("99.1", "Test", 1, 1, print), Bench({"f": answer}), 0)
    with pytest.raises(CheckFailed, match="changes its argument number 1"):
        attempt.number("f", argument)


def test_a_network_keeps_its_weights():
    def erased(network):
        with torch.no_grad():
            network[1].weight.zero_()
        return 1.0

    one = torch.ones(2, dtype=torch.float64)
    network = dense_network([torch.stack([one, one])], [one], "relu")
    names = {"f": erased, "g": lambda network: network(torch.ones(1, 2)).sum()}
    attempt = Attempt(Exercise("99.1", "Test", 1, 1, print), Bench(names), 0)
    assert attempt.number("g", network) == 6
    with pytest.raises(CheckFailed, match="changes its argument number 1"):
        attempt.number("f", network)


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2).float(), 0.1, 0, torch.quint8)


UNREADABLE = {
    "quantised": quantised,
    "sparse": lambda: torch.eye(2).to_sparse(),
    "without memory": lambda: torch.empty(2, device="meta"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_tensor_that_cannot_be_read_is_no_answer(kind):
    names = {"f": lambda _: UNREADABLE[kind]()}
    attempt = Attempt(Exercise("99.1", "Test", 1, 1, print), Bench(names), 0)
    with pytest.raises(CheckFailed, match="cannot be the answer"):
        attempt.ask("f", 1)


HUGE = [10**400, -(10**6000), 1e308, -1e308, 5e-324, 2**70, (1e308, 1e308), (10**400, -1, 0)]


@pytest.mark.parametrize("number", sorted(FIRST_RIGHT))
def test_no_number_is_too_large_for_a_check(number):
    """`verdict` raises the error of a check that stops."""
    start, answer = FIRST_RIGHT[number]
    for node in ast.parse(answer.code).body:
        if isinstance(node, ast.FunctionDef):
            for value in HUGE:
                names = names_after(start, answer.code)
                names[node.name] = constant(value)
                assert verdict(number, names, NOTEBOOK_SEED) != "passed"
