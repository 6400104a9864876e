"""The checks that students receive as data say of the zoo what the checks themselves say."""

import json

import pytest
import record
import torch

import answers
from chapter_checks import engine, recorded
from chapter_checks.bench import Bench
from chapter_checks.engine import (
    NOTEBOOK_SEED,
    Attempt,
    CheckFailed,
    Exercise,
    find,
)

LESSONS = answers.files("lesson")
ZOO = {name[-2:]: answers.read(name) for name in LESSONS}
NUMBERS = {answer.number: lesson for lesson, (_, zoo) in ZOO.items() for answer in zoo}
REPLAYED = [number for number in NUMBERS if number not in record.AS_CODE]


def recording(number):
    path = recorded.FOLDER / f"lesson_{NUMBERS[number]}.json"
    return json.loads(path.read_text(encoding="utf-8"))["exercises"][number]


@pytest.fixture
def replayed(monkeypatch):
    """Gives the recorded check of an exercise its number."""

    def replay(number):
        find(number)  # the code is loaded before it is replaced
        entry = recording(number)
        head = number, entry["title"], entry["points"], entry["minutes"]
        run = recorded.replay(entry["cases"])
        monkeypatch.setitem(engine.EXERCISES, number, Exercise(*head, run, tuple(entry["without"])))

    return replay


def said(number, names):
    """Whether it is passed, and what is said."""
    try:
        engine.run_check(number, Bench(names), NOTEBOOK_SEED)
    except CheckFailed as verdict:
        if verdict.__cause__:
            raise verdict.__cause__ from None
        return verdict.hint
    return "passed"


def test_recordings_are_as_new_as_the_checks():
    assert record.stale_lessons() == 0, "run source/record.py"
    assert len(list(recorded.FOLDER.glob("*.json"))) == len(LESSONS)


@pytest.mark.parametrize("number", NUMBERS)
def test_title_points_and_what_is_taken_away_are_those_of_the_check(number):
    of = find(number)
    entry = recording(number)
    assert (entry["title"], entry["points"], entry["minutes"]) == (of.title, of.points, of.minutes)
    assert tuple(entry["without"]) == tuple(of.without)
    assert len(entry["cases"]) == (0 if number in record.AS_CODE else record.CASES)


@pytest.mark.slow
@pytest.mark.parametrize("number", REPLAYED)
def test_a_recorded_check_tells_right_from_wrong(number, replayed):
    """And nearly all wrong answers get the hint that the check itself gives."""
    start, zoo = ZOO[NUMBERS[number]]
    replayed(number)
    torch.set_num_threads(1)
    wrong = 0
    other_hint = []
    for answer in zoo:
        if answer.number == number:
            torch.set_default_dtype(torch.float64)
            hint = said(number, record.names_after(start, answer.code))
            assert (hint == "passed") == answer.right, f"{answer.label}: {hint}"
            wrong += not answer.right
            if not answer.right and answer.hint not in hint:
                other_hint.append(f"{answer.name}: {hint}")
    assert len(other_hint) <= wrong // 4, other_hint


def test_an_exercise_without_cases_is_not_passed():
    attempt = Attempt(Exercise("99.1", "Test", 1, 1, print), Bench({}), NOTEBOOK_SEED)
    with pytest.raises(CheckFailed, match="Only the grader"):
        recorded.replay([])(attempt)


# ---- one recording, looked at closely ------------------------------------------------------------


def twice(attempt):
    x = attempt.uniform(1.0, 2.0)
    value = attempt.number("twice", x)
    if abs(value - 2 * x) > 1e-3:
        attempt.rule_out(value, {"the square": x**2}, "This is {}.")
        attempt.fail(f"It is {2 * x:.3f}, not {value:.4g}." if value < 2 * x else "Too large.")
    same = attempt.function("twice_of", x)
    W = attempt.randn(2, 2)
    y = attempt.as_tensor(same(W), "its value", (2, 2))
    attempt.require((y - 2 * W).norm() <= 1e-9, "Not twice the matrix.")


TWICE = Exercise("99.1", "Twice", 1, 1, twice)
RIGHT = {"twice": lambda x: 2 * x, "twice_of": lambda x: lambda W: 2 * W}


@pytest.fixture
def recorded_twice(monkeypatch):
    monkeypatch.setitem(engine.EXERCISES, "99.1", TWICE)
    with engine.torch_state():
        seeds = (NOTEBOOK_SEED, NOTEBOOK_SEED + 1)
        cases = [record.record_case("99.1", RIGHT, seed)[0] for seed in seeds]
    cases = json.loads(json.dumps(cases))
    run = recorded.replay(cases)
    monkeypatch.setitem(engine.EXERCISES, "99.1", Exercise("99.1", "Twice", 1, 1, run))
    return cases


def test_tolerances_are_those_of_the_check(recorded_twice):
    (leaf,) = recorded_twice[0][0]["leaves"]
    middle = (leaf["low"] + leaf["high"]) / 2
    assert 1 < middle / 2 < 2
    assert 0.0002 < leaf["high"] - middle <= 0.001 and 0.0002 < middle - leaf["low"] <= 0.001
    matrix = recorded_twice[0][2]["leaves"][0]
    assert 1e-11 < matrix["atol"] <= 1e-8


@pytest.mark.parametrize(
    ("changed", "hint"),
    [
        ({}, "passed"),
        ({"twice": lambda x: 2 * x + 1e-5}, "passed"),
        ({"twice": lambda x: x * x}, "This is the square."),
        ({"twice": lambda x: 3 * x}, "Too large."),
        ({"twice": lambda x: 1.5}, ", not 1.5."),
        ({"twice": lambda x: "two"}, "`twice` should be one real number, not a str."),
        ({"twice_of": lambda x: 2 * x}, "`twice_of` should be a function or a network"),
        ({"twice_of": lambda x: lambda W: 2 * W.T}, "Not twice the matrix."),
        ({"twice_of": lambda x: lambda W: 2 * W[0]}, "its value has shape (2,)"),
        ({"twice_of": lambda x: lambda W: W.mul_(2)}, "changes its argument number 1"),
    ],
)
def test_what_a_recording_says(changed, hint, recorded_twice):
    assert hint in said("99.1", RIGHT | changed)


def test_a_mistake_is_named_only_if_the_other_case_shows_it(recorded_twice):
    x = recorded_twice[0][0]["arguments"][0]
    assert "the square" not in said("99.1", RIGHT | {"twice": lambda _: x * x})


def test_without_a_hint_the_question_is_told(recorded_twice):
    question = recorded_twice[0][2]
    leaf = question["leaves"][0] | {"what": "`f`"}
    right = 2 * recorded.wire.decode(question["arguments"][0], None)
    right[0, 1] += 1
    said = recorded.in_words(question | {"arguments": [0.5, [1, "relu"]]}, leaf, right)
    entry = recorded.shown(right[0, 1].item())
    assert said.startswith("`f` for 0.5, [1, 'relu']: the entry [0, 1] should be ")
    assert said.endswith(f", not {entry}.")
