"""The checks of coursework as data for students: chapter_checks/recordings/lesson_NN.json.

    python source/record.py          record every lesson whose checks have changed
    python source/record.py 02 5.3   record this lesson anew, and this exercise of another one

A check runs with a right answer, and its questions are written down. Then single values are
changed, and the check says how far it accepts that, what it says of a value beyond, and which
typical mistakes give which value; and what it says of the wrong answers of the zoo. No code of a
check, and none of a solution, gets into the recording.
"""

import argparse
import copy
import hashlib
import json
import math
import re
import sys
from typing import Any

import torch
from torch import Tensor

import build
from chapter_checks import engine, recorded, wire
from chapter_checks.bench import Bench
from chapter_checks.engine import NOTEBOOK_SEED, Attempt, CheckFailed, find

sys.path.insert(0, str(build.ROOT / "tests" / "coursework"))
import answers

CASES = 2  # recordings of an exercise, each with other random inputs
CHECKS = build.ROOT / "chapter_checks" / "exercises"
# Here many answers are right, and only the code of the check can tell: students have it.
AS_CODE = ("1.2", "1.4", "3.6", "5.2", "5.5", "7.5", "9.5")
STEPS = [10.0**k for k in (-14, -12, -10, -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 3, 6)]
FORMATS = (".4g", ".3g", ".5g", ".2g", ".4f", ".5f", ".3f", "g", "")
UNLIMITED = 1e300
PATIENCE = 3600.0  # seconds for the answers to a check


class Accepted(Exception):
    """The check goes on although a value was changed."""


class Recorder(Attempt):
    """Writes down what a check asks, what is answered, and as what it takes the answers."""

    def __init__(self, of: engine.Exercise, names: dict, seed: int):
        super().__init__(of, Bench(names), seed, PATIENCE)
        self.questions: list[dict] = []
        self.values: list[Any] = []  # what was answered
        self.taken: list[dict[int, dict]] = []  # by the identity of a value: how it is taken

    def request(self, target, arguments, what, method=None, gradient=None):
        question = {
            "target": target,
            "method": method,
            "gradient": wire.encode(gradient),
            "arguments": [wire.encode(argument) for argument in arguments],
            "what": what,
            "raises": False,
            "count": 0,
        }
        question = copy.deepcopy(question)
        self.questions.append(question)
        self.values.append(None)
        self.taken.append({})
        try:
            value = super().request(target, arguments, what, method, gradient)
        except CheckFailed:
            question["raises"] = True
            raise
        self.values[-1] = value
        return value

    def several(self, name, *arguments, count):
        values = super().several(name, *arguments, count=count)
        self.questions[-1]["count"] = count
        self.values[-1] = values
        return values

    def as_number(self, value, what, finite=True):
        self.note(value, {"kind": "number", "what": what, "finite": finite})
        return super().as_number(value, what, finite)

    def as_tensor(self, value, what, shape, dtype=torch.float64):
        self.note(value, {"kind": "tensor", "what": what})
        return super().as_tensor(value, what, shape, dtype)

    def note(self, value, how: dict) -> None:
        for question, answer, taken in zip(self.questions, self.values, self.taken, strict=True):
            if any(value is leaf for leaf in leaves_of(question, answer)):
                taken[id(value)] = how


def leaves_of(question: dict, answer: Any) -> list:
    """The values that a question brings, each compared alone."""
    together = question["count"] or isinstance(answer, (tuple, list))
    return list(answer) if together else [answer]


class Doctored(Attempt):
    """Runs a check on recorded answers, of which one is changed."""

    def __init__(self, of, record: Recorder, seed: int, place: int, end=math.inf):
        super().__init__(of, record.transport, seed, PATIENCE)
        self.record = record
        self.place = place
        self.changed: Any = None
        self.end = end  # a question that is asked only if the changed value is accepted
        self.asked = 0
        self.mistakes: list[tuple[str, Any, str, float]] = []
        self.new: list = []  # the changed values

    def request(self, target, arguments, what, method=None, gradient=None):
        number = self.asked
        self.asked += 1
        sent = [wire.encode(argument) for argument in arguments]
        known = number < len(self.record.questions)
        if number > self.end:
            raise Accepted
        if not known or self.record.questions[number]["arguments"] != sent:
            return super().request(target, arguments, what, method, gradient)
        if number == self.place:
            return self.changed
        if self.record.questions[number]["raises"]:
            self.fail(f"{what} raised ValueError: as it should")
        return copied(self.record.values[number], self)

    def rule_out(self, value, mistakes, saying="{}", rtol=1e-6, atol=0.0):
        if any(value_of(value) == value_of(new) for new in self.new):
            for name, wrong in mistakes.items():
                size = torch.as_tensor(wrong).abs().max().item()
                near = min(1e-2, float(rtol + atol / size)) if size else rtol
                self.mistakes.append((name, wrong, saying.format(name), near))


def value_of(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def copied(value: Any, attempt: Attempt) -> Any:
    """What was answered, once more; a function is called through this attempt."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, engine.Returned):
        return engine.Returned(attempt, value.kept_as, value.name)
    if isinstance(value, (list, tuple)):
        return type(value)([copied(entry, attempt) for entry in value])
    return dict(value) if isinstance(value, dict) else value


class Probe:
    """What a check says if single values of a recording are changed."""

    def __init__(self, record: Recorder, seed: int):
        self.record = record
        self.seed = seed
        self.ends: dict[tuple, int] = {}

    def said(self, place: int, new: dict[int, Any]) -> tuple[str | None, Doctored]:
        """None if it is accepted, else the hint; with the values at these places changed."""
        question = self.record.questions[place]
        answer = self.record.values[place]
        of = self.record.exercise
        end = self.ends.get((place, *new), math.inf)
        attempt = Doctored(of, self.record, self.seed, place, end)
        leaves = enumerate(leaves_of(question, answer))
        attempt.changed = [new.get(k, copied(leaf, attempt)) for k, leaf in leaves]
        if not (question["count"] or isinstance(answer, (tuple, list))):
            (attempt.changed,) = attempt.changed
        attempt.new = list(new.values())
        try:
            of.run(attempt)
        except CheckFailed as verdict:
            # A value that is certainly wrong is noticed before the next question but one.
            self.ends.setdefault((place, *new), attempt.asked)
            return verdict.hint, attempt
        except Accepted:
            return None, attempt
        except Exception:  # the check was not made for this
            return "", attempt
        return None, attempt

    def farthest(self, accepted) -> float:
        """The largest of STEPS that is accepted if all smaller ones are; 0 if none is."""
        low, high = -1, len(STEPS)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if accepted(STEPS[middle]) else (low, middle)
        return STEPS[low] if low >= 0 else 0.0

    def edge(self, place: int, k: int, right: float, side: int) -> float | None:
        """The last number on this side that is accepted, None if there is no last one."""
        scale = abs(right) or 1.0

        def accepted(step):
            return self.said(place, {k: right + side * step * scale})[0] is None

        low = self.farthest(accepted)
        if low == STEPS[-1]:
            return None
        if low == 0:
            return right
        high = STEPS[STEPS.index(low) + 1]
        for _ in range(4 if low >= 1e-4 else 0):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if accepted(middle) else (low, middle)
        return right + side * low * scale

    def number(self, place: int, k: int, leaf: dict, right: float) -> None:
        self.said(place, {k: right + 0.37 * (abs(right) or 1.0)})
        leaf["low"] = self.edge(place, k, right, -1)
        leaf["high"] = self.edge(place, k, right, 1)
        scale = abs(right) or 1.0
        if math.isinf(right):
            leaf["low"] = leaf["high"] = right
            self.texts(place, leaf, "below", [{k: 1.0}, {k: 2.0}])
            leaf["above"] = leaf["below"]
            return
        for side, name, end in ((-1, "below", leaf["low"]), (1, "above", leaf["high"])):
            leaf[name] = ""
            if end is not None:
                beyond = [end + side * f * scale for f in (0.083, 0.71)]
                self.texts(place, leaf, name, [{k: value} for value in beyond])

    def tensor(self, place: int, k: int, leaf: dict, right: Tensor) -> None:
        generator = torch.Generator().manual_seed(place)
        scale = right.double().abs().max().item() or 1.0 if right.numel() else 1.0

        def noise():
            drawn = torch.rand(right.shape, generator=generator, dtype=torch.float64)
            return 2 * drawn - 1

        def added(step):
            return right + (step * scale * noise()).to(right.dtype)

        def multiplied(step):
            return right * (1 + step * noise()).to(right.dtype)

        def inward(step):  # each entry towards the middle: pixels stay pixels
            middle = (right.double().max() + right.double().min()) / 2
            return right + (step * scale * noise().abs() * (middle - right).sign()).to(right.dtype)

        def farthest(change):
            most = self.farthest(lambda step: self.said(place, {k: change(step)})[0] is None)
            return UNLIMITED if most == STEPS[-1] else most

        self.said(place, {k: added(0.3)})
        most = farthest(added)
        if most < 1e-9 and right.numel():
            most = farthest(inward)
        leaf["atol"] = scale * most
        nothing = self.said(place, {k: torch.zeros_like(right)})[0] if most == UNLIMITED else None
        leaf["not_zero"] = nothing is not None
        leaf["rtol"] = farthest(multiplied)
        wrong = [added(0.3), right * 1.7, added(0.3)]
        wrong += [inward(0.2)] if right.numel() else []
        self.texts(place, leaf, "wrong", [{k: value} for value in wrong])
        leaf["wrong"] = nothing or leaf["wrong"]

    def texts(self, place: int, leaf: dict, name: str, changes: list[dict[int, Any]]) -> None:
        """Keep what the check says of such values in general, and the mistakes that it names."""
        said = []
        named = []
        for change in changes:
            text, attempt = self.said(place, change)
            if text is not None:
                said.append((next(iter(change.values())), text))
                named.append(attempt.mistakes)
        leaf[name] = general(said)
        for mistake in named[0] if len(named) > 1 else []:
            other = [one for one in named[-1] if one[0] == mistake[0]]
            if other and recorded.agree(recorded.look(as_value(other[0][1])), as_value(mistake[1])):
                add_mistake(leaf, *mistake)


def as_value(wrong: Any) -> Any:
    if isinstance(wrong, Tensor):
        wrong = wrong.detach().double()
    return wrong if isinstance(wrong, Tensor) and wrong.numel() > 1 else float(wrong)


def add_mistake(leaf: dict, name: str, wrong: Any, hint: str, near: float) -> None:
    value = as_value(wrong)
    right = wire.decode(leaf["value"], None) if "value" in leaf else None
    if isinstance(value, float) and isinstance(right, Tensor):
        value = torch.full_like(right, value, dtype=torch.float64)
    finite = bool(torch.as_tensor(value).isfinite().all())
    known = [mistake[0] for mistake in leaf["mistakes"]]
    if finite and name not in known and not recorded.accepts(leaf, value):
        leaf["mistakes"].append([name, recorded.look(value) | {"near": near}, hint])


def general(said: list[tuple[Any, str]]) -> str:
    """What is the same in the texts for different wrong values; {value} stands for the value."""
    texts = [text for _, text in said if text]
    if not texts:
        return ""
    if len(set(texts)) == 1:
        return texts[0]
    for form in FORMATS:
        with_gaps = {
            text.replace(format(value, form), "{value}") if isinstance(value, float) else text
            for value, text in said
        }
        if len(with_gaps) == 1:
            return with_gaps.pop()
    sentences = [re.split(r"(?<=[.?]) ", text) for text in texts]
    kept = []
    for several in zip(*sentences):  # noqa: B905, as far as they go
        parts = [one.partition(": ") for one in several]
        same = several[0]
        if len(set(several)) > 1:
            heads = {head for head, colon, _ in parts if colon}
            same = f"{heads.pop()}." if len(heads) == 1 and all(p[1] for p in parts) else ""
        kept.append(same)
    return " ".join(one for one in kept if len(one.split()) > 1)


def record_case(number: str, names: dict, seed: int) -> tuple[list[dict], Recorder]:
    """The questions of a check for these random inputs, with what it accepts and says."""
    of = find(number)
    record = Recorder(of, names, seed)
    of.run(record)
    probe = Probe(record, seed)
    for place, (question, answer) in enumerate(zip(record.questions, record.values, strict=True)):
        question["otherwise"] = ""
        question["leaves"] = []
        if question["raises"]:
            question["otherwise"] = probe.said(place, {0: 1.0})[0]
            continue
        values = leaves_of(question, answer)
        for k, value in enumerate(values):
            taken = record.taken[place].get(id(value), {})
            question["leaves"].append(recorded_leaf(probe, place, k, value, taken, question))
        if len(values) > 1:
            question["otherwise"] = all_wrong(probe, place, values)
    return record.questions, record


def recorded_leaf(probe, place, k, value, taken, question) -> dict:
    leaf = {"kind": "other", "what": question["what"], "mistakes": []} | taken
    if isinstance(value, engine.Returned):
        return leaf | {"kind": "function", "kept": value.kept_as}
    if leaf["kind"] == "number":
        right = float(value)
        probe.number(place, k, leaf, right)
    elif isinstance(value, Tensor) and value.dtype in wire.DTYPES.values():
        leaf["kind"] = "tensor"
        leaf["value"] = wire.encode(value)
        probe.tensor(place, k, leaf, value)
    elif not isinstance(value, (*recorded.PLAIN, dict)) or probe.said(place, {k: "?"})[0] is None:
        leaf["kind"] = "any"
    elif isinstance(value, dict):
        leaf |= {"kind": "dict", "keys": list(value), "wrong": probe.said(place, {k: {}})[0]}
    else:
        leaf["value"] = wire.encode(value)
        leaf["wrong"] = probe.said(place, {k: "?"})[0]
    return leaf


def all_wrong(probe: Probe, place: int, values: list) -> str:
    """What the check says if all values that come together are wrong."""
    changes = []
    for factor in (0.7, 1.7):
        change = {}
        for k, value in enumerate(values):
            if isinstance(value, Tensor) and value.is_floating_point():
                change[k] = value * factor + 0.1
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                change[k] = value * factor + 0.1
        changes.append((None, probe.said(place, change)[0] or ""))
    return general(changes)


def deviation(number: str, names: dict, seed: int, case: list[dict]) -> tuple[dict, Any] | None:
    """The leaf at which the answers of these functions are first wrong, and their value."""

    attempt = Attempt(find(number), Bench(names), seed, PATIENCE, named=False)
    kept: dict = {}
    try:
        for question in case:
            if wrong := recorded.put(attempt, question, kept):
                return wrong[0]
    except CheckFailed:  # by its type or shape
        return None
    return None


def of_another_shape(number: str, names: dict, case: list[dict]) -> tuple[dict, Any] | None:
    """The same for the first tensor that has not the right shape."""
    attempt = Attempt(find(number), Bench(names), NOTEBOOK_SEED, PATIENCE)
    for question in case:
        if len(question["leaves"]) == 1 and isinstance(question["target"], str):
            (leaf,) = question["leaves"]
            arguments = [wire.decode(entry, None) for entry in question["arguments"]]
            try:
                value = attempt.ask(question["target"], *arguments)
            except CheckFailed:
                return None
            if leaf["kind"] == "tensor" and isinstance(value, Tensor):
                if list(value.shape) != leaf["value"]["shape"]:
                    return leaf, value
    return None


def verdict(number: str, names: dict, seed: int) -> str:
    """The hint of a check, if only these random inputs are asked."""
    found = engine.verdict_of(find(number), Bench(names), seed, PATIENCE)
    return found.hint if found else ""


def names_after(start: str, code: str) -> dict:
    names: dict = {"__name__": "__main__"}
    exec(compile(start, "<start>", "exec"), names)
    exec(compile(code, "<answer>", "exec"), names)
    return names


def record_exercise(number: str, start: str, zoo: list) -> dict:
    of = find(number)
    head = {"title": of.title, "points": of.points, "minutes": of.minutes, "without": of.without}
    if number in AS_CODE:
        return head | {"cases": []}
    mine = [answer for answer in zoo if answer.number == number]
    right = names_after(start, next(answer for answer in mine if answer.right).code)
    cases = []
    for seed in range(NOTEBOOK_SEED, NOTEBOOK_SEED + CASES):
        case, _ = record_case(number, right, seed)
        for answer in mine:
            if not answer.right:
                names = names_after(start, answer.code)
                found = deviation(number, names, seed, case)
                found = found or of_another_shape(number, names, case)
                hint = verdict(number, names, seed)
                if found and hint and found[0]["kind"] != "any":
                    learn(*found, answer, hint)
        cases.append(case)
    return head | {"cases": cases}


def learn(leaf: dict, value: Any, answer, hint: str) -> None:
    """The hint of a wrong answer of the zoo, for whoever gives the same value, or shape."""
    if isinstance(value, Tensor) and leaf["kind"] == "tensor":
        right = wire.decode(leaf["value"], None)
        wrong = recorded.look(value)
        if value.shape != right.shape:
            wrong = {"shape": list(value.shape)}
    elif isinstance(value, (float, int, str)):
        wrong = recorded.look(value)
    else:
        return
    if answer.hint in hint and all(wrong != mistake[1] for mistake in leaf["mistakes"]):
        leaf["mistakes"].append([answer.name, wrong, hint])


def digest(lesson: str) -> str:
    """Of what a recording depends on."""
    texts = [CHECKS / f"lesson_{lesson}.py", CHECKS.parent / "sendable.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in texts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_lesson(lesson: str, only: list[str]) -> None:
    """Record all exercises of a lesson, or only these anew."""
    start, zoo = answers.read(f"lesson_{lesson}")
    target = recorded.FOLDER / f"lesson_{lesson}.json"
    target.parent.mkdir(exist_ok=True)
    exercises = json.loads(target.read_text(encoding="utf-8"))["exercises"] if only else {}
    with engine.torch_state():
        for number in only or dict.fromkeys(answer.number for answer in zoo):
            exercises[number] = record_exercise(number, start, zoo)
    text = json.dumps({"digest": digest(lesson), "exercises": exercises})
    target.write_text(text + "\n", encoding="utf-8")
    print(f"lesson {lesson}: recorded", flush=True)


def is_fresh(lesson: str) -> bool:
    path = recorded.FOLDER / f"lesson_{lesson}.json"
    return path.exists() and json.loads(path.read_text("utf-8"))["digest"] == digest(lesson)


def stale_lessons() -> int:
    """How many recordings are older than their checks."""
    stale = [path.stem[-2:] for path in sorted(CHECKS.glob("lesson_*.py"))]
    stale = [lesson for lesson in stale if not is_fresh(lesson)]
    for lesson in stale:
        print(f"lesson {lesson}: its recorded checks are old; run source/record.py")
    return len(stale)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="such as 05 or 5.2; else the lessons that are old")
    names = parser.parse_args().names
    torch.set_num_threads(1)
    for path in sorted(CHECKS.glob("lesson_*.py")):
        lesson = path.stem[-2:]
        only = [name for name in names if name.split(".")[0].zfill(2) == lesson and "." in name]
        if only or lesson in names or (not names and not is_fresh(lesson)):
            record_lesson(lesson, only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
