"""Checks of which students have no code: questions with the answers that are right, as data.

source/record.py asks each check of exercises/ which answers it accepts and what it says of wrong
ones. Here the same questions are put to a student's functions. The grader has the code, and draws
fresh questions with it.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import wire
from .engine import (
    EXERCISES,
    NOT_YET,
    NOTEBOOK_SEED,
    Attempt,
    CheckFailed,
    Exercise,
    Returned,
)

PLAIN = (bool, int, float, str, type(None))
FOLDER = Path(__file__).parent / "recordings"


def load(lesson: str) -> None:
    """Register the recorded checks of a lesson, "02", if there are any."""
    path = FOLDER / f"lesson_{lesson}.json"
    if not path.exists():
        return
    for number, entry in json.loads(path.read_text(encoding="utf-8"))["exercises"].items():
        head = number, entry["title"], entry["points"], entry["minutes"]
        of = Exercise(*head, replay(entry["cases"]), tuple(entry["without"]))
        EXERCISES.setdefault(number, of)  # of some exercises there is the code


def replay(cases: list[list[dict]]):
    """The check that asks all these questions; the seed says with which case it begins."""

    def run(attempt: Attempt) -> None:
        attempt.require(cases, "Only the grader can check this exercise.")
        first = (attempt.generator.initial_seed() - NOTEBOOK_SEED) % len(cases)
        for case in cases[first:] + cases[:first]:
            kept: dict[int, Returned] = {}
            for place, question in enumerate(case):
                if wrong := put(attempt, question, kept):
                    explain(attempt, case[place:], kept, wrong)

    return run


def put(attempt: Attempt, question: dict, kept: dict[int, Returned]) -> list[tuple[dict, Any]]:
    """Ask one question. What comes back and is not accepted, with what is recorded of it."""
    target = question["target"]
    target = kept[target].kept_as if isinstance(target, int) else target
    arguments = tuple(wire.decode(entry, kept.get) for entry in question["arguments"])
    gradient = wire.decode(question["gradient"], None)
    try:
        if question["count"]:
            answer = attempt.several(target, *arguments, count=question["count"])
        else:
            what, method = question["what"], question["method"]
            answer = attempt.request(target, arguments, what, method, gradient)
    except CheckFailed as verdict:
        if question["raises"] and " raised " in verdict.hint:
            return []  # as it should
        raise
    if question["raises"]:
        attempt.fail(question["otherwise"])
    leaves = question["leaves"]
    values = list(answer) if len(leaves) > 1 else [answer]
    wrong = []
    for leaf, value in zip(leaves, values, strict=True):
        if leaf["kind"] == "tensor" and isinstance(value, Tensor):
            name(attempt, mistakes_of(leaf, value, of_shape=True))
        value = converted(attempt, leaf, value)
        if leaf["kind"] == "function":
            kept[leaf["kept"]] = value
        elif not accepts(leaf, value):
            wrong.append((leaf, value))
    return wrong


def explain(attempt: Attempt, case: list[dict], kept: dict[int, Returned], wrong: list) -> None:
    """Stop with a hint: these values for the first question are wrong."""
    first, *others = case
    found = {}
    for leaf, value in wrong:
        found |= mistakes_of(leaf, value)
    for question in others:
        if not found or question["target"] != first["target"]:
            continue
        try:
            also_wrong = put(attempt, question, kept)
        except CheckFailed:
            break
        for leaf, value in also_wrong:
            known = {mistake for mistake, *_ in leaf["mistakes"]}
            same = mistakes_of(leaf, value)
            found = {m: hint for m, hint in found.items() if m in same or m not in known}
    name(attempt, found)
    leaf, value = wrong[0]
    said = hint_for(leaf, value) if len(wrong) == 1 else first["otherwise"]
    attempt.fail(said or in_words(first, leaf, value))


def name(attempt: Attempt, found: dict[str, str]) -> None:
    """Stop with the hint of the first of these mistakes, if there is one."""
    if found and attempt.named:
        hint = next(iter(found.values()))
        raise CheckFailed(attempt.exercise.number, NOT_YET, hint, found)


def converted(attempt: Attempt, leaf: dict, value: Any) -> Any:
    """The value as a check takes it, or the verdict that it has the wrong type or shape."""
    what = leaf["what"]
    if leaf["kind"] == "number":
        return attempt.as_number(value, what, leaf["finite"])
    if leaf["kind"] == "tensor":
        dtype = wire.DTYPES[leaf["value"]["dtype"]]
        return attempt.as_tensor(value, what, tuple(leaf["value"]["shape"]), dtype)
    if leaf["kind"] == "function" and not isinstance(value, Returned):
        attempt.fail(f"{what} should be a function or a network.")
    return value


def accepts(leaf: dict, value: Any) -> bool:
    if leaf["kind"] == "number":
        low, high = leaf["low"], leaf["high"]
        return (low is None or low <= value) and (high is None or value <= high)
    if leaf["kind"] == "any":
        return True
    if leaf["kind"] == "dict":
        return isinstance(value, dict) and all(key in value for key in leaf["keys"])
    right = wire.decode(leaf["value"], None)
    if leaf["kind"] == "tensor":
        near = (value - right).abs() <= leaf["atol"] + leaf["rtol"] * right.abs()
        zero = leaf.get("not_zero") and not value.abs().max() > 1e-6
        return bool(near.all()) and not zero
    return isinstance(value, PLAIN) and value == right


def mistakes_of(leaf: dict, value: Any, of_shape: bool = False) -> dict[str, str]:
    """The recorded mistakes that give this value, or this shape, and their hints."""
    return {
        mistake: hint
        for mistake, wrong, hint in leaf["mistakes"]
        if ("shape" in wrong) == of_shape and agree(wrong, value)
    }


def look(value: Any) -> dict:
    """What is recorded of a wrong value: of a tensor a few sums, which show it well enough."""
    if not isinstance(value, Tensor):
        return {"value": value} if isinstance(value, PLAIN) else {}
    flat = value.double().flatten()
    places = torch.arange(len(flat), dtype=torch.float64)
    sums = [flat.norm(), (flat * places.cos()).sum(), (flat * (2.3 * places + 1).cos()).sum()]
    return {"sums": [one.item() for one in sums]}


def agree(wrong: dict, value: Any) -> bool:
    """Whether this is the value of a mistake, up to rounding, or has its shape."""
    if "shape" in wrong:
        return list(value.shape) == wrong["shape"]
    near = max(wrong.get("near", 0.0), 1e-6)
    now = look(value)
    if "sums" in wrong and "sums" in now:
        size = wrong["sums"][0]
        pairs = zip(wrong["sums"], now["sums"], strict=True)
        return all(abs(one - other) <= near * size for one, other in pairs)
    old = wrong.get("value")
    if isinstance(value, float) and isinstance(old, (int, float)):
        return value == old or abs(value - old) <= near * abs(old)
    return type(value) is type(old) and value == old


def hint_for(leaf: dict, value: Any) -> str:
    """What the check says of a value that is too small or too large, or of any wrong one."""
    if leaf["kind"] != "number":
        return leaf["wrong"]
    too_small = leaf["low"] is not None and value < leaf["low"]
    return (leaf["below"] if too_small else leaf["above"]).replace("{value}", f"{value:.4g}")


def in_words(question: dict, leaf: dict, value: Any) -> str:
    """What was asked, what came back, and what is right."""
    arguments = [shown(wire.decode(entry, str)) for entry in question["arguments"]]
    listed = ", ".join(arguments)
    asked = f"{leaf['what']} for {listed}" if 0 < len(listed) < 80 else leaf["what"]
    if leaf["kind"] == "number":
        low, high = leaf["low"], leaf["high"]
        right = high if low is None else low if high is None else (low + high) / 2
        return f"{asked}: this should be {shown(right)}, not {shown(value)}."
    if leaf["kind"] != "tensor":
        return f"{asked}: {shown(value)} is not right."
    right = wire.decode(leaf["value"], None)
    if not right.ndim:
        return f"{asked}: this should be {shown(right.item())}, not {shown(value.item())}."
    place = (value.double() - right.double()).abs().argmax()
    index = [int(k) for k in torch.unravel_index(place, right.shape)]
    should, is_now = (shown(float(one.flatten()[place])) for one in (right, value))
    return f"{asked}: the entry {index} should be {should}, not {is_now}."


def shown(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.numel() <= 4:
            return str([float(f"{entry:.4g}") for entry in value.flatten().tolist()])
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return repr(value) if isinstance(value, (str, int, bool)) else "a function"
