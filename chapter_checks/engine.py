"""check("2.1"): one property check an exercise, three outcomes, one line.

It gets an `Attempt`, calls the student's functions through it on random inputs, never compares
with a stored answer, and says with `require` which property must hold and which mistake is likely.
When an instructor grades, it runs in the grader's process and its calls travel to the kernel.
chapter_checks/README.md says how to write a check; exercises/lesson_05.py has examples.
"""

import importlib.util
import math
import time
from typing import Any, Callable, NamedTuple

import torch
from torch import Tensor

from . import wire
from .bench import Bench, torch_state

NOT_STARTED, NOT_YET, PASSED = "not started", "not passed yet", "passed"
NOTEBOOK_SEED = 2024  # the same inputs in every run of a notebook; the judge draws its own
CONFIRMATIONS = 3  # so often a mistake must be seen again, on other inputs, before it is named

PROBLEMS = {  # of a call that brought no value
    "missing": "There is no {what} in the notebook. "
    "Run its cell; if you renamed it, give it this name again.",
    "not a function": "{what} should be a function, not {text}.",
    "too slow": "{what} takes too long. "
    "Is there a loop that never ends, or one that could be a formula?",
    "ended": "Python ended while {what} was running: {text}.",
    "changed": "{what} changes its argument number {text} in place. "
    "The caller still needs it: work on a copy.",
}


class CheckFailed(AssertionError):
    """The verdict on an exercise that is not passed. Jupyter shows its one line, no traceback."""

    def __init__(
        self, number: str, outcome: str, hint: str, mistakes: dict[str, str] | None = None
    ):
        super().__init__(f"{called(number)}: {outcome}. {hint}")
        self.number = number
        self.outcome = outcome
        self.hint = hint
        self.mistakes = mistakes or {}  # those that give this value, and their hints

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [str(self)]


class Exercise(NamedTuple):
    number: str
    title: str
    points: int
    minutes: int
    run: Callable[["Attempt"], None]
    without: tuple[str, ...] = ()  # functions of chapter_utils that it asks for (taken.py)


EXERCISES: dict[str, Exercise] = {}


def called(number: str) -> str:
    """Coursework counts with numbers, the cells to write in of a lesson with letters."""
    return f"Exercise {number}" if number[-1].isdigit() else f"Your turn {number}"


def exercise(number: str, title: str, points=0, minutes=5, without=()) -> Callable:
    """Decorator of a check: registers it under its number, "lesson.place"."""

    def register(run: Callable[["Attempt"], None]) -> Callable[["Attempt"], None]:
        EXERCISES[number] = Exercise(number, title, points, minutes, run, without)
        return run

    return register


def find(number: str) -> Exercise:
    """The exercise of that number; raises ValueError if there is none."""
    lesson, _, place = number.partition(".") if isinstance(number, str) else ("", "", "")
    folder = "exercises" if place.isdigit() else "turns"
    module = f"{__package__}.{folder}.lesson_{lesson.zfill(2)}"
    if lesson.isdigit() and importlib.util.find_spec(module):
        importlib.import_module(module)
    if number not in EXERCISES:  # students have no code of most checks
        importlib.import_module(f"{__package__}.recorded").load(lesson.zfill(2))
    if number not in EXERCISES:
        raise ValueError(f'there is no exercise {number!r}; one is called "2.1", lesson and place')
    return EXERCISES[number]


class Returned:
    """A function or network that the student's code returned: call it, or one of its methods."""

    def __init__(self, attempt: "Attempt", number: int, name: str):
        self.attempt = attempt
        self.kept_as = number  # under which it stays where it is
        self.name = name.strip("`")

    def __call__(self, *arguments: Any) -> Any:
        return self.attempt.request(self.kept_as, arguments, f"the result of `{self.name}`")

    def with_gradient(self, x: Tensor, weights: Tensor, parameter: str | None = None):
        """Its value at x, and the gradient of the sum of weights * value: by x or a parameter."""
        what = f"the result of `{self.name}`"
        return self.attempt.request(self.kept_as, (x,), what, gradient=(parameter, weights))

    def method(self, method: str, *arguments: Any) -> Any:
        what = f"`{method}` of the result of `{self.name}`"
        return self.attempt.request(self.kept_as, arguments, what, method=method)


class Attempt:
    """What a check works with: random inputs, the student's functions, and verdicts."""

    def __init__(
        self, of: Exercise, transport: Bench, seed: int, seconds: float = 10.0, named: bool = True
    ):
        self.exercise = of
        self.transport = transport
        self.generator = torch.Generator().manual_seed(seed)
        self.deadline = time.monotonic() + seconds
        self.named = named  # False: `rule_out` is silent, and the general hint behind it is given

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor | float:
        """A number between low and high, or a tensor of them if a shape is given."""
        unit = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        drawn = low + (high - low) * unit
        return drawn if shape else drawn.item()

    def integer(self, low: int, high: int) -> int:
        """low, ..., high, both possible."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def fail(self, hint: str, outcome: str = NOT_YET) -> None:
        raise CheckFailed(self.exercise.number, outcome, hint)

    def require(self, holds: bool | Tensor, hint: str) -> None:
        """Stop here with the hint unless the property holds."""
        if not bool(holds):
            self.fail(hint)

    def rule_out(self, value, mistakes: dict[str, Any], saying="{}", rtol=1e-6, atol=0.0) -> None:
        """Stop here with the hint of the first typical mistake that gives this value.

        They agree if |value - wrong| <= atol + rtol |wrong|, by the largest entry of a tensor.
        Infinity and nan are nobody's mistake. `saying` is the hint with {} for the mistake. The
        general hint behind this call is given unless other inputs show the same mistake.
        """
        found = {}
        for mistake, wrong in mistakes.items():
            wrong = torch.as_tensor(wrong, dtype=torch.float64)
            size = wrong.abs().max().item()
            distance = (wrong - value).abs().max().item()
            if math.isfinite(size) and distance <= atol + rtol * size:
                found[mistake] = saying.format(mistake)
        if found and self.named:
            first = next(iter(found.values()))
            raise CheckFailed(self.exercise.number, NOT_YET, first, found)

    def request(self, target, arguments: tuple, what: str, method=None, gradient=None) -> Any:
        """What a call gives, with gradient = (parameter, weights) that also; or the verdict."""
        seconds = self.deadline - time.monotonic()
        request = {"name": target, "method": method, "seconds": seconds}
        request["without"] = self.exercise.without
        request["gradient"] = wire.encode(gradient)
        request["arguments"] = [wire.encode(argument) for argument in arguments]
        reply = self.transport.ask(request) if seconds > 0 else {"problem": ["too slow", ""]}
        if "problem" in reply:
            self.explain(what, *reply["problem"])
        try:
            value = wire.decode(reply["value"], lambda kept: Returned(self, kept, what), make=False)
        except Exception:  # a reply that is not what `wire.encode` makes
            self.fail(f"{what} gives what cannot be read.")
        if value is None:
            self.fail(f"{what} gives None. Is a `return` missing?")
        if isinstance(value, wire.Unsendable):
            self.fail(f"{what} gives an object of type {value.kind}, which cannot be the answer.")
        return value

    def explain(self, what: str, kind: str, text: str) -> None:
        """The verdict if a call brought no value."""
        if kind == "unset":
            self.fail(f"Give {what} a value.", NOT_STARTED)
        if kind == "stub":
            hint = f"Write {what} in place of its line `raise NotImplementedError`."
            if text != called(self.exercise.number):
                hint += f" It needs {text}, which is not written yet."
            self.fail(hint, NOT_STARTED)
        if kind in PROBLEMS:
            self.fail(PROBLEMS[kind].format(what=what, text=text))
        self.fail(f"{what} raised {kind}: {text}")

    def ask(self, name: str, *arguments: Any) -> Any:
        """What the student's function returns, or the variable `name` if there are no arguments."""
        return self.request(name, arguments, f"`{name}`")

    def number(self, name: str, *arguments: Any, finite: bool = True) -> float:
        return self.as_number(self.ask(name, *arguments), f"`{name}`", finite)

    def tensor(self, name: str, *arguments: Any, shape: tuple, dtype=torch.float64) -> Tensor:
        return self.as_tensor(self.ask(name, *arguments), f"`{name}`", shape, dtype)

    def several(self, name: str, *arguments: Any, count: int) -> list:
        """The `count` values that a function returns together."""
        values = self.ask(name, *arguments)
        rows = isinstance(values, Tensor) and values.ndim > 0
        values = list(values) if rows or isinstance(values, (list, tuple)) else [values]
        hint = f"`{name}` should return {count} values together; it returned {len(values)}."
        self.require(len(values) == count, hint)
        return values

    def function(self, name: str, *arguments: Any) -> Returned:
        """The function or network that the student's function returns."""
        value = self.ask(name, *arguments)
        if not isinstance(value, Returned):
            self.fail(f"`{name}` should return a function or a network, not {kind_of(value)}.")
        return value

    def with_gradient(self, name, x: Tensor, *arguments: Any, weights=None) -> tuple[Any, Tensor]:
        """The function's value, and the gradient by x of the sum of weights (else 1) * value."""
        return self.request(name, (x, *arguments), f"`{name}`", gradient=(None, weights))

    def as_number(self, value: Any, what: str, finite: bool = True) -> float:
        """A real number, or a verdict."""
        if isinstance(value, Tensor):
            hint = f"{what} should be one number, not a tensor of shape {tuple(value.shape)}."
            self.require(value.numel() == 1, hint)
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"{what} should be one real number, not {kind_of(value)}.")
        self.require(not math.isnan(value), f"{what} is nan, not a number.")
        good = math.isfinite(value) or not finite
        self.require(good, f"{what} is {value}; it should be finite here.")
        return float(value)

    def as_tensor(self, value: Any, what: str, shape: tuple, dtype=torch.float64) -> Tensor:
        """A finite tensor of this shape and dtype, or a verdict."""
        if not isinstance(value, Tensor):
            self.fail(f"{what} should be a tensor, not {kind_of(value)}.")
        given, asked = tuple(value.shape), tuple(shape)
        hint = f"{what} has shape {given}; for this input it should be {asked}."
        self.require(given == asked, hint)
        hint = f"{what} is {value.dtype}, but the input is {dtype}: keep the dtype of the input."
        self.require(value.dtype == dtype, hint)
        self.require(value.isfinite().all(), f"{what} contains nan or infinite entries.")
        return value


def kind_of(value: Any) -> str:
    name = "function" if isinstance(value, Returned) else type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def verdict_of(
    of: Exercise, transport: Bench, seed: int, seconds: float, named: bool = True
) -> CheckFailed | None:
    """What the check says of the answers for these random inputs; None if it is passed."""
    try:
        of.run(Attempt(of, transport, seed, seconds, named))
    except CheckFailed as verdict:
        return verdict.with_traceback(None)
    return None


def confirmed(
    first: CheckFailed, of: Exercise, transport: Bench, seed: int, seconds: float
) -> CheckFailed:
    """The verdict that names a mistake, if other inputs show the same one; or a general verdict."""
    seen = first.mistakes
    for other in range(seed + 1, seed + 1 + CONFIRMATIONS):
        again = verdict_of(of, transport, other, seconds)
        seen = {mistake: seen[mistake] for mistake in seen if again and mistake in again.mistakes}
        if not seen:
            return verdict_of(of, transport, seed, seconds, named=False) or first
    return CheckFailed(first.number, first.outcome, next(iter(seen.values())))


def run_check(number: str, transport: Bench, seed: int, seconds: float = 10.0) -> None:
    """Run the check of an exercise: CheckFailed unless it is passed, ValueError if unknown."""
    of = find(number)
    try:
        with torch_state():
            verdict = verdict_of(of, transport, seed, seconds)
            if verdict and verdict.mistakes:
                verdict = confirmed(verdict, of, transport, seed, seconds)
    except Exception as error:  # a hole in the check: never an answer
        stopped = f"The check itself stopped with {type(error).__name__}: please report this."
        hint = f"{stopped} Is your result of the right kind?"
        raise CheckFailed(number, NOT_YET, hint) from error
    if verdict:
        raise verdict
