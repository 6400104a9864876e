"""The engine: outcomes, the sandbox, values on the wire, functions and networks both ways."""

import importlib
import json
import math
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import chapter_checks
from chapter_checks import bench, engine, notebook, sendable, wire
from chapter_checks.engine import Attempt, Bench, CheckFailed, Exercise


class ThroughJson:
    """As in the judge, but in this process: every request and reply is text."""

    def __init__(self, names):
        self.names = names
        bench.serve(names, '{"begin": true}')

    def ask(self, request):
        return json.loads(bench.serve(self.names, json.dumps(request)))


@pytest.fixture(params=[Bench, ThroughJson])
def attempt_at(request):
    def make(names, seconds=10.0):
        return Attempt(Exercise("9.1", "Test", 1, 1, print), request.param(names), 0, seconds)

    return make


def line(call, *arguments, **options):
    with pytest.raises(CheckFailed) as failed:
        call(*arguments, **options)
    return str(failed.value)


def through(value):
    return wire.decode(json.loads(json.dumps(wire.encode(value))), None)


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        -math.inf,
        "text",
        [1, (2.0, "x")],
        {"a": [1], 2: None},
        1 + 2j,
        (),
        np.float64(0.5),
    ],
    ids=str,
)
def test_values_survive_the_wire(value):
    assert through(value) == value


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex128],
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3, 4)])
def test_tensors_survive_the_wire(dtype, shape):
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    back = through(value.mT if value.ndim > 1 else value)
    assert back.dtype == dtype and torch.equal(back, value.mT if value.ndim > 1 else value)


def test_only_makers_of_this_package_are_called():
    for module, name in (
        ("os", "getcwd"),
        ("chapter_checks.engine", "find"),
        ("chapter_utils.data", "load_images"),
    ):
        with pytest.raises(ValueError, match="sendable maker"):
            wire.decode({"made": [module, name], "from": []}, None)


def test_views_survive_the_wire():
    whole = torch.arange(12.0).reshape(3, 4)
    for view in (
        whole[:, ::2],
        whole.mT,
        whole[:1, :1].expand(3, 2),
        torch.ones(1).expand(1),
        torch.as_strided(whole, (1,), (0,)),
    ):
        assert torch.equal(through(view), view)


def test_what_cannot_travel_is_named():
    for value in (lambda x: x, object(), nn.ReLU(), [torch.sin]):
        with pytest.raises(TypeError, match="cannot travel"):
            wire.encode(value)


@pytest.mark.parametrize("dtype", ["quint8", "qint32", "float8_e4m3fn", "load", "ones", ""])
def test_only_numbers_come_out_of_a_reply(dtype):
    """A quantised tensor made from bytes ends the process; other names are no dtypes at all."""
    with pytest.raises(KeyError):
        wire.decode({"tensor": "AAAA", "dtype": dtype, "shape": [3]}, None, make=False)


def test_a_reply_brings_no_more_than_it_says():
    for shape in ([10**10], [0, -1], [2]):
        with pytest.raises((RuntimeError, ValueError)):
            wire.decode({"tensor": "", "dtype": "float64", "shape": shape}, None, make=False)


def test_networks_and_operators_are_rebuilt():
    generator = torch.Generator().manual_seed(0)
    W, V, b = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 3), (2, 4), (4,))
    )
    network = sendable.dense_network([W, V], [b, b[:2]], "tanh")
    again = through(network)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    assert isinstance(again, nn.Module) and torch.equal(network(x), again(x))
    image, kernel = (
        torch.randn(2, 1, 6, 5, generator=generator),
        torch.randn(3, 1, 3, 3, generator=generator),
    )
    forward, adjoint = sendable.convolution(kernel, 1), sendable.adjoint_convolution(kernel, 1)
    y = torch.randn(2, 3, 6, 5, generator=generator)
    assert torch.allclose((forward(image) * y).sum(), (image * adjoint(y)).sum(), atol=1e-4)


# ---- calls ---------------------------------------------------------------------------------------


def test_numbers_tensors_and_several(attempt_at):
    at = attempt_at(
        {
            "f": lambda x: x * 2,
            "pair": lambda: (1, torch.ones(2)),
            "c": 3,
            "arr": lambda: np.ones((2, 2)),
            "late": ...,
        }
    )
    assert (
        at.number("f", 2.5) == 5.0
        and at.number("f", torch.tensor([4.0])) == 8.0
        and at.number("c") == 3.0
    )
    assert torch.equal(
        at.tensor("f", torch.ones(2, 1), shape=(2, 1), dtype=torch.float32), torch.full((2, 1), 2.0)
    )
    assert at.tensor("arr", shape=(2, 2)).dtype == torch.float64
    first, second = at.several("pair", count=2)
    assert first == 1 and second.shape == (2,)
    assert "3 values" in line(at.several, "pair", count=3)
    assert "shape (2,); for this input it should be (3,)" in line(
        at.tensor, "f", torch.ones(2), shape=(3,)
    )
    assert "keep the dtype" in line(at.tensor, "f", torch.ones(2), shape=(2,))
    assert "not a str" in line(at.number, "f", "x") and "not a complex" in line(at.number, "f", 1j)
    assert "nan" in line(at.number, "f", math.nan) and "finite" in line(at.number, "f", math.inf)
    assert at.number("f", math.inf, finite=False) == math.inf
    assert "should be a function" in line(at.number, "c", 1) and "There is no `g`" in line(
        at.ask, "g"
    )
    assert line(at.ask, "late") == "Exercise 9.1: not started. Give `late` a value."


def test_what_students_do(attempt_at):
    def stub():
        raise NotImplementedError("Exercise 9.1")

    def needs_another():
        raise NotImplementedError("Exercise 1.1")

    def forever():
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass

    def deep():
        return deep()

    def changes(a, x):
        x += 1
        return x

    at = attempt_at(
        {
            "stub": stub,
            "needs_another": needs_another,
            "deep": deep,
            "changes": changes,
            "nothing": lambda: None,
            "quits": lambda: sys.exit(),
            "odd": lambda: object(),
            "wrong": lambda: torch.ones(2) @ torch.ones(3),
        }
    )
    assert line(at.ask, "stub").startswith("Exercise 9.1: not started. Write `stub`")
    assert "It needs Exercise 1.1" in line(at.ask, "needs_another")
    assert "without end" in line(at.ask, "deep")
    assert "argument number 2 in place" in line(at.ask, "changes", 1, torch.ones(2))
    assert "Is a `return` missing?" in line(at.ask, "nothing")
    assert "SystemExit" in line(at.ask, "quits") and "type object" in line(at.ask, "odd")
    assert "\n" not in line(at.ask, "wrong")
    start = time.monotonic()
    short = attempt_at({"forever": forever}, seconds=0.3)
    assert "takes too long" in line(short.ask, "forever") and "takes too long" in line(
        short.ask, "forever"
    )
    assert time.monotonic() - start < 5


def test_nothing_of_the_call_is_seen_or_stays(attempt_at, capfd):
    import matplotlib

    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    def noisy(x):
        print("here")
        print("there", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        plt.figure()
        torch.set_default_dtype(torch.float16)
        torch.set_grad_enabled(False)
        torch.manual_seed(0)
        return 1.0

    dtype, state, figures = (
        torch.get_default_dtype(),
        torch.random.get_rng_state(),
        plt.get_fignums(),
    )
    assert attempt_at({"noisy": noisy}).number("noisy", 1) == 1.0
    assert (
        torch.get_default_dtype() == dtype
        and torch.is_grad_enabled()
        and torch.equal(state, torch.random.get_rng_state())
    )
    assert plt.get_fignums() == figures and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", [1, 2, 3])
def test_arguments_of_every_kind_stay_as_they_are(attempt_at, place):
    """An emptied list, an entry of a dictionary, a tensor in a list."""

    def changes(numbers, table, tensors):
        if place == 1:
            numbers.clear()
        if place == 2:
            table["a"] = 2
        if place == 3:
            tensors[0].zero_()
        return 1.0

    given = [1.0, math.nan], {"a": 1}, [torch.ones(2), lambda_free()]
    said = line(attempt_at({"f": changes}).number, "f", *given)
    assert f"`f` changes its argument number {place} in place" in said


def test_unchanged_arguments_of_every_kind_are_no_fault(attempt_at):
    at = attempt_at({"make": lambda: torch.sin, "f": lambda *given: 1.0})
    sine = at.function("make")
    assert at.number("f", [math.nan], math.nan, {"a": (1, None)}, sine, [sine, lambda_free()]) == 1


def test_arguments_are_copies(attempt_at):
    x, kept = torch.ones(2), []
    at = attempt_at({"f": lambda given: kept.append(given) or given})
    at.ask("f", x)
    kept[0].zero_()
    assert torch.equal(x, torch.ones(2))


def test_gradients(attempt_at):
    at = attempt_at(
        {
            "good": lambda x, k: k * x.square().sum(1),
            "cut": lambda x: x.detach().sum(),
            "item": lambda x: x.sum().item(),
            "other": lambda x: torch.ones(2, requires_grad=True),
        }
    )
    x = torch.arange(6.0).reshape(2, 3)
    value, gradient = at.with_gradient("good", x, 3.0)
    assert torch.equal(gradient, 6 * x) and value.shape == (2,)
    assert "no gradient" in line(at.with_gradient, "cut", x) and "no gradient" in line(
        at.with_gradient, "item", x
    )
    assert torch.equal(at.with_gradient("other", x)[1], torch.zeros(2, 3))


def test_returned_functions_and_networks(attempt_at):
    class Layer(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = nn.Parameter(weight)

        def forward(self, x):
            return x @ self.weight.mT

        def adjoint(self, y):
            return y @ self.weight

    at = attempt_at(
        {
            "Layer": Layer,
            "scaled": lambda k: lambda x: k * x,
            "twice": lambda f, x: f(f(x)),
            "broken": lambda: lambda x: x @ x @ x,
            "two": lambda: (torch.sin, torch.cos),
            "network": nn.Threshold(5.0, 0.0),
        }
    )
    weight, x = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    layer = at.function("Layer", weight)
    assert torch.equal(layer(x), torch.tensor([[3.0, 1.0]])) and torch.equal(
        layer.method("adjoint", x), x @ weight
    )
    assert torch.equal(layer.method("state_dict")["weight"], weight)
    assert torch.equal(at.ask("twice", layer, x), x @ weight.mT @ weight.mT), (
        "a returned function can be sent back"
    )
    assert torch.equal(at.function("scaled", 3.0)(x), 3 * x)
    assert "the result of `broken` raised" in line(at.function("broken"), torch.ones(3, 2))
    assert torch.equal(at.function("network")(x), torch.zeros(1, 2)), "a network may be a variable"
    sine, cosine = at.several("two", count=2)
    assert sine(torch.zeros(1)).item() == 0 and cosine(torch.zeros(1)).item() == 1
    assert "should return a function" in line(at.function, "twice", lambda_free(), x)


def lambda_free():
    return sendable.linear_map(torch.eye(2))


# ---- verdicts ------------------------------------------------------------------------------------


def test_rule_out_names_the_first_mistake_that_gives_the_value():
    at = Attempt(Exercise("9.1", "Test", 1, 1, print), Bench({}), 0)
    mistakes = {"the square": 4.0, "twice": torch.tensor(4.0), "the mean": torch.tensor([1.0, 2.0])}
    assert line(at.rule_out, 4.0, mistakes, "This is {}.").endswith(". This is the square.")
    assert line(at.rule_out, torch.tensor([1.0, 2.0]), mistakes).endswith(". the mean")
    at.rule_out(3.0, mistakes)
    at.rule_out(torch.tensor([1.0, 3.0]), mistakes)
    assert "{x}" in line(at.rule_out, 1.0, {"{x}": 1.0}, "This is {}."), "braces of a mistake stay"


@pytest.mark.parametrize("size", [1e-200, 1.0, -1e200])
def test_rule_out_compares_relative_to_the_mistake(size):
    at = Attempt(Exercise("9.1", "Test", 1, 1, print), Bench({}), 0)
    wrong = {"wrong": size, "also wrong": torch.tensor([size, 0.0], dtype=torch.float64)}
    for value in (size * (1 + 0.9e-4), torch.tensor([size, size * 0.9e-4], dtype=torch.float64)):
        assert "wrong" in line(at.rule_out, value, wrong, rtol=1e-4)
    for value in (size * (1 + 1.1e-4), torch.tensor([size, size * 1.1e-4], dtype=torch.float64)):
        at.rule_out(value, wrong, rtol=1e-4)


def test_rule_out_is_safe_for_zero_infinity_and_nan():
    at = Attempt(Exercise("9.1", "Test", 1, 1, print), Bench({}), 0)
    odd = {"inf": math.inf, "nan": math.nan, "half": torch.tensor([0.0, math.nan])}
    for value in (0.0, 1.0, math.inf, math.nan, torch.zeros(2)):
        at.rule_out(value, odd, atol=1.0)
    for value in (1e-300, math.inf, math.nan):
        at.rule_out(value, {"zero": 0.0})
    assert "zero" in line(at.rule_out, 0.0, {"zero": 0.0})
    assert "zero" in line(at.rule_out, 1e-7, {"zero": 0.0}, atol=1e-6)


# ---- check and passed ----------------------------------------------------------------------------


@pytest.fixture
def exercise_99(monkeypatch):
    def run(attempt):
        attempt.require(attempt.number("answer") == 1, "It is one.")

    monkeypatch.setitem(engine.EXERCISES, "99.1", Exercise("99.1", "Test", 1, 1, run))
    monkeypatch.setattr(notebook, "_outcomes", {})


def test_check_prints_one_line_or_raises_one(exercise_99, capsys):
    for value, outcome in (
        (..., "not started"),
        (2, "not passed yet. It is one."),
        (1, None),
        (3, "not passed yet. It is one."),
    ):
        exec("from chapter_checks import check", names := {"answer": value})
        if outcome:
            with pytest.raises(CheckFailed, match=f"^Exercise 99.1: {outcome}") as failed:
                exec('check("99.1")', names)
            assert failed.value._render_traceback_() == [str(failed.value)]
            assert not chapter_checks.passed("99.1") and capsys.readouterr().out == ""
        else:
            exec('check("99.1")', names)
            assert capsys.readouterr().out == "Exercise 99.1: passed\n" and chapter_checks.passed(
                "99.1"
            )
    assert capsys.readouterr().out == "", "passed() is silent"


def test_your_turn_prints_its_verdict_and_never_stops(monkeypatch, capsys):
    def run(attempt):
        attempt.require(attempt.number("answer") == 1, "It is one.")

    monkeypatch.setitem(engine.EXERCISES, "99.A", Exercise("99.A", "Test", 0, 5, run))
    monkeypatch.setattr(notebook, "_outcomes", {})
    for value, outcome in (
        (..., "not started. Give `answer` a value."),
        (2, "not passed yet. It is one."),
        (1, "passed"),
    ):
        exec("from chapter_checks import your_turn", names := {"answer": value})
        exec('your_turn("99.A")', names)
        assert capsys.readouterr().out == f"Your turn 99.A: {outcome}\n"
        assert chapter_checks.passed("99.A") == (outcome == "passed")


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (None, "You made no guess. Because."),
        (2.01, "Your guess, 2.01, is right. Because."),
        (2.1, "Your guess was 2.1: the answer is 2. Because."),
        (4, "Your guess was 4: that is the square. Because."),
        (7, "Your guess was 7: the answer is 2. Because."),
        (True, "Your guess was True: the answer is 2. Because."),
        ([2], "Your guess was [2]: the answer is 2. Because."),
        (float("nan"), "Your guess was nan: the answer is 2. Because."),
    ],
)
def test_a_prediction_is_answered(guess, said, capsys):
    chapter_checks.reply(guess, 2, "Because.", wrong={4: "that is the square."})
    assert capsys.readouterr().out == f"{said}\n"


def test_a_prediction_in_words(capsys):
    for guess in ("Larger", "smaller", 3):
        chapter_checks.reply(guess, "larger", "Because.", wrong={"smaller": "no."})
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Your guess, Larger, is right. Because."
    assert said[1] == "Your guess was smaller: no. Because."
    assert said[2] == "Your guess was 3: the answer is larger. Because."


def test_an_error_of_the_check_is_not_blamed_on_the_student(monkeypatch):
    monkeypatch.setitem(
        engine.EXERCISES, "99.2", Exercise("99.2", "Test", 1, 1, lambda attempt: 1 / 0)
    )
    assert "please report" in line(engine.run_check, "99.2", Bench({}), 0)


@pytest.mark.parametrize("number", ["99.9", "x", "2", "", "../x.1", 2.1, None])
def test_unknown_exercises_are_named(number):
    with pytest.raises(ValueError, match="there is no exercise"):
        chapter_checks.check(number)


def test_students_need_nothing_but_torch_to_check():
    code = (
        "import sys, chapter_checks\n"
        "assert not {'pytest', 'nbval', 'jupytext', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_time_limit_waits_for_an_import(tmp_path, monkeypatch):
    """A module that is stopped half-way would stay broken for the rest of the kernel's life."""
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(0.3)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(bench.TooSlow), bench.time_limit(0.05):
        importlib.import_module("slow_to_load")
        while True:
            pass
    assert sys.modules["slow_to_load"].whole
