"""What students receive does not hold the answers: no function of it is one, nor do its lines say.

Two ways to points without a thought are tried. *Calling*: every function of the bundle that takes
as many arguments as an answer stands in for it, with its arguments in any order. *Copying*: a right
answer all of whose expressions stand somewhere in the bundle, up to the names of variables.
"""

import ast
import copy
import importlib
import inspect
import itertools
import json
import re

import nbformat
import pytest
import record
import torch

import answers
import build_coursework as builder
from chapter_checks import engine, recorded, wire
from chapter_checks.bench import Bench
from chapter_checks.engine import NOTEBOOK_SEED, find
from lesson import ROOT

# What can be copied, as the page for instructors (chapter_checks/README.md) says: functions of the
# library that are taken away, but can be read, and two checks that students have as code.
COPIED = ("2.2", "3.6", "5.2", "7.1", "7.2", "7.6", "8.5")
MOST = 8
SMALL = 7  # nodes of an expression that says nothing
ZOO = {name[-2:]: answers.read(name) for name in answers.files("lesson")}
NUMBERS = {answer.number: lesson for lesson, (_, zoo) in ZOO.items() for answer in zoo}


@pytest.fixture(scope="module")
def code(bundle):
    """All of Python in the bundle: [(file, tree)], a notebook cell by cell."""
    found = []
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if path.suffix == ".py":
            found.append((name, ast.parse(path.read_text(encoding="utf-8"))))
        elif path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            sources = [cell.source for cell in cells if cell.cell_type == "code"]
            found += [
                (name, ast.parse(re.sub(r"^[%!].*$", "", text, flags=re.M))) for text in sources
            ]
    return found


# ---- copying -------------------------------------------------------------------------------------


class WithoutNames(ast.NodeTransformer):
    """Numbers the variables in the order in which they come; names behind a dot stay."""

    def __init__(self):
        self.seen = {}

    def visit_Name(self, node):
        number = self.seen.setdefault(node.id, len(self.seen))
        kept = node.id in ("torch", "math", "F", "nn", "abs", "max", "min", "sum")
        return ast.Name(node.id if kept else f"v{number}", ast.Load())

    def visit_arg(self, node):
        return ast.arg(f"v{self.seen.setdefault(node.arg, len(self.seen))}")

    def visit_Call(self, node):  # sum(dim=1) is sum(1)
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        return ast.Call(self.visit(node.func), [self.visit(one) for one in given], [])


def normal(node):
    return ast.dump(WithoutNames().visit(copy.deepcopy(node)))


def size(node):
    return sum(not isinstance(one, ast.expr_context | ast.operator) for one in ast.walk(node))


def expressions(tree):
    """What the statements of the functions in it compute, if it is more than a trifle."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Return | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr):
            if node.value is not None and not isinstance(node.value, ast.Constant):
                yield node.value
        elif isinstance(node, ast.If | ast.While):
            yield node.test


def is_copied(source, known):
    said = [node for node in expressions(ast.parse(source)) if size(node) >= SMALL]
    return bool(said) and all(normal(node) in known for node in said)


def solutions():
    for path in builder.sources():
        for cell in builder.generate(path, "solved").cells:
            if cell.id.startswith("answer-"):
                yield cell.id.removeprefix("answer-").replace("-", "."), cell.source
    for _, zoo in ZOO.values():
        for answer in zoo:
            if answer.right:
                yield answer.number, answer.code


def test_no_answer_can_be_put_together_from_lines_of_the_bundle(code):
    known = {
        normal(node)
        for _, tree in code
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and size(node) >= SMALL
    }
    assert len(known) > 5000
    found = {number for number, source in solutions() if is_copied(source, known)}
    assert found <= set(COPIED)


def test_lines_are_compared_without_names():
    (tree,) = [ast.parse("def f(a, b):\n    return (a @ b + b).sum(dim=1).relu()")]
    known = {normal(node) for node in ast.walk(tree) if isinstance(node, ast.expr)}
    assert is_copied("def g(x, W):\n    return (x @ W + W).sum(1).relu()", known)
    assert not is_copied("def g(x, W):\n    return (x @ W + x).sum(1).relu()", known)
    assert not is_copied("def g(x, W):\n    y = (x @ W + W).sum(1).relu()\n    return y", set())


# ---- calling -------------------------------------------------------------------------------------


def namespace_of(name):
    """Where a function of this file of the bundle finds what it uses."""
    dotted = name.removesuffix(".py").replace("/", ".")
    if name.startswith(("chapter_utils/", "chapter_checks/")):
        return dict(vars(importlib.import_module(dotted.removesuffix(".__init__"))))
    names = {}
    exec(ZOO["08"][0] + "\nimport torch.nn as nn\nfrom chapter_utils import *", names)
    return names


@pytest.fixture(scope="module")
def functions(code):
    """Every function in the bundle that stands on its own, one inside another too.

    Not those of the grader and of the experiments, which write files.
    """
    found = {}
    spaces = {}
    for name, tree in code:
        if name.startswith(("benchmarks/", "chapter_checks/grading/")):
            continue
        space = spaces.setdefault(name, namespace_of(name))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                alone = copy.deepcopy(node)
                alone.decorator_list = []
                names = dict(space)
                try:
                    exec(compile(ast.Module([alone], []), name, "exec"), names)
                except (NameError, SyntaxError):  # it needs what it stood in
                    continue
                found.setdefault(normal(alone), (name, names[node.name]))
    return list(found.values())


def takes(function, count):
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


def in_order(function, order):
    return lambda *given: function(*[given[place] for place in order])


def orders(count):
    """Of the arguments: all, if they are few."""
    return itertools.permutations(range(count)) if count <= 3 else [tuple(range(count))]


def first_questions(number):
    """For each function that is asked for, the first recorded question."""
    path = recorded.FOLDER / f"lesson_{NUMBERS[number]}.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["exercises"][number]["cases"]
    questions = {}
    for question in cases[0] if cases else []:
        if isinstance(question["target"], str) and question["leaves"]:
            questions.setdefault(question["target"], question)
    return questions


def answers_it(function, question):
    """Whether the function's value for the arguments of a recorded question is accepted."""
    bench = Bench({"f": function})
    request = {key: question[key] for key in ("method", "gradient", "arguments")}
    reply = bench.ask({"name": "f", "seconds": 0.5, "without": [], **request})
    if "problem" in reply:
        return False
    value = wire.decode(reply["value"], lambda kept: kept, make=False)
    values = value if isinstance(value, (list, tuple)) else [value]
    leaves = question["leaves"]
    if len(values) != len(leaves):
        return False
    for leaf, one in zip(leaves, values, strict=True):
        number = isinstance(one, torch.Tensor) and one.numel() == 1 and leaf["kind"] == "number"
        one = one.item() if number else one
        try:
            if leaf["kind"] != "function" and not recorded.accepts(leaf, one):
                return False
        except Exception:  # of another shape or type
            return False
    return True


def passes(number, names):
    of = find(number)._replace(without=())  # who copies a function has it
    with engine.torch_state():
        return engine.verdict_of(of, Bench(names), NOTEBOOK_SEED, 5) is None


def stand_ins(number, target, names, count, question, functions):
    """The functions of the bundle that earn the points in place of this one."""
    for name, function in functions:
        if takes(function, count):
            for order in orders(count):
                one = in_order(function, order)
                if question and not answers_it(one, question):
                    continue
                if passes(number, names | {target: one}):
                    yield f"{name}: {function.__name__}"
                    break


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestWarning")
@pytest.mark.parametrize("number", NUMBERS)
def test_no_function_of_the_bundle_is_the_answer(number, functions):
    start, zoo = ZOO[NUMBERS[number]]
    source = next(answer.code for answer in zoo if answer.number == number and answer.right)
    names = record.names_after(start, source)
    with engine.torch_state():
        run = record.Recorder(find(number), names, NOTEBOOK_SEED)
        find(number).run(run)
    questions = first_questions(number)
    counts = {}
    for question in run.questions:
        if isinstance(question["target"], str):
            counts.setdefault(question["target"], len(question["arguments"]))
    found = {
        target: list(stand_ins(number, target, names, count, questions.get(target), functions))
        for target, count in counts.items()
    }
    assert not all(found.values()) or number in COPIED, found


def test_a_function_that_is_the_answer_would_be_noticed():
    def doubling(omega, h):
        return names["steps_to_double"](h, omega)

    start, zoo = ZOO["02"]
    names = record.names_after(start, zoo[0].code)
    question = first_questions("2.1")["steps_to_double"]
    found = stand_ins("2.1", "steps_to_double", names, 2, question, [("here", doubling)])
    assert list(found) == ["here: doubling"]


# ---- what is said --------------------------------------------------------------------------------


def test_the_page_names_what_can_be_earned_without_thinking():
    assert len(COPIED) <= MOST
    page = (ROOT / "chapter_checks" / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^### What can still be copied\n(.*?)^#", page, re.M | re.S)
    taken = [number for number in NUMBERS if find(number).without]
    named = set(re.findall(r"\b\d\.\d\b", section))
    assert set(COPIED) <= {*taken, *record.AS_CODE} == named
    assert set(taken) <= set(COPIED)


def test_students_have_code_of_few_checks(bundle):
    folder = bundle / "chapter_checks" / "exercises"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("lesson_*.py"))
    assert set(re.findall(r'@exercise\(\s*"(\d+\.\d+)"', text)) == set(record.AS_CODE)
    assert len(record.AS_CODE) <= MOST
