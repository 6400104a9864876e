"""Functions of the library that an exercise asks for are gone while a student's code runs."""

import pytest
import torch

import answers
from chapter_checks import taken
from chapter_checks.bench import Bench
from chapter_checks.engine import Attempt, CheckFailed, Exercise, find
from chapter_utils import attacks, structure
from chapter_utils.attacks import fgsm as kept_under_another_name

NUMBERS = sorted({a.number for name in answers.files("lesson") for a in answers.read(name)[1]})
ATTACKED = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]), 0.1


def attack(how):
    return how(lambda x: x.flatten(1)[:, :2], *ATTACKED)


@pytest.mark.parametrize("how", [attacks.fgsm, kept_under_another_name, attacks.fgsm.__get__(1)])
def test_it_refuses_under_every_name_and_only_then(how):
    with taken.away(["attacks.fgsm"]), pytest.raises(RuntimeError, match="write it yourself"):
        attack(how)
    assert attack(attacks.fgsm).shape == (1, 1, 2, 2)


def test_it_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), taken.away(["attacks.fgsm"]):
        raise ZeroDivisionError
    assert attack(kept_under_another_name).shape == (1, 1, 2, 2)


def test_a_method_is_taken_away_too():
    project = structure.SumPreservingProjection(3, 2)
    name = "structure.SumPreservingProjection.forward"
    with taken.away([name]), pytest.raises(RuntimeError, match="write it yourself"):
        project(torch.ones(1, 3))
    assert project(torch.ones(1, 3)).sum() == 3


@pytest.mark.parametrize("number", NUMBERS)
def test_what_an_exercise_takes_away_is_there(number):
    for name in find(number).without:
        assert callable(taken.find(name))


def test_an_answer_that_calls_it_gets_no_value():
    of = Exercise("99.1", "Test", 1, 1, print, ("attacks.fgsm",))
    attempt = Attempt(of, Bench({"f": lambda x: attack(attacks.fgsm)}), 0)
    with pytest.raises(CheckFailed, match="write it yourself"):
        attempt.ask("f", 1.0)
