"""Where a student's code runs, in the notebook: on copies, quietly, for a limited time."""

import contextlib
import io
import json
import signal
import sys
import threading
import traceback
import types
import warnings
from typing import Any

import torch

from . import taken, wire


class TooSlow(BaseException):
    """Not an Exception, so that a student's `except Exception` does not swallow it."""


def in_an_import(frame: types.FrameType | None) -> bool:
    """Whether a module is being loaded: stopped there, it would stay broken for ever."""
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def time_limit(seconds: float):
    """Raise TooSlow after so many seconds; not on Windows and not outside the main thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "setitimer") or not in_main_thread:
        yield
        return

    def ring(_, frame):
        if not in_an_import(frame):
            raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01), 0.5)  # again: one may be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def open_figures() -> set[int]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return set(pyplot.get_fignums()) if pyplot else set()


@contextlib.contextmanager
def quiet():
    """No print, figure, display or warning reaches the check cell: nbval compares its output."""
    ipython = sys.modules.get("IPython")  # there is a shell only if it has been imported
    figures = open_figures()
    with contextlib.ExitStack() as stack:
        if ipython and ipython.get_ipython():
            from IPython.utils.capture import capture_output

            stack.enter_context(capture_output())
        else:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
    for number in open_figures() - figures:
        sys.modules["matplotlib.pyplot"].close(number)


@contextlib.contextmanager
def torch_state():
    """float64 on the CPU inside; afterwards defaults, modes and random numbers are as before."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    modes = torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[])
    try:
        with torch.device("cpu"), modes[0], modes[1], modes[2]:
            yield
    finally:
        torch.set_default_dtype(dtype)


def problem_of(error: BaseException) -> list[str]:
    """What a student's code raised: its kind, and its text with the line of the notebook."""
    if isinstance(error, TooSlow):
        return ["too slow", ""]
    if isinstance(error, RecursionError):
        return ["RecursionError", "it calls itself without end"]
    is_stub = str(error).startswith(("Exercise ", "Your turn "))
    if isinstance(error, NotImplementedError) and is_stub:
        return ["stub", str(error)]
    text = (str(error).splitlines() or [""])[0][:160]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "ipykernel" in frame.filename or frame.filename.startswith("<"):
            code = f": {frame.line.strip()}" if frame.line else ""
            text += f" (line {frame.lineno} of its cell{code})"
            break
    return [type(error).__name__, text]


def gradient_of(value: Any, x: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or not value.requires_grad:
        raise TypeError("no gradient reaches the input through the result")
    if weights is None:
        weights = torch.ones_like(value)
    (gradient,) = torch.autograd.grad(value, x, weights, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


class Bench:
    """Answers requests about the names of one notebook. A request and its reply are JSON."""

    def __init__(self, names: dict[str, Any]):
        self.names = names
        self.kept: list[Any] = []

    def keep(self, value: Any) -> int | None:
        if not callable(value) or isinstance(value, type):
            return None
        same = [number for number, one in enumerate(self.kept) if one is value]
        if not same:
            self.kept.append(value)
        return same[0] if same else len(self.kept) - 1

    def looks(self, argument: Any) -> str:
        """All that a student's code could change of an argument, as text: there nan is nan."""
        if isinstance(argument, torch.nn.Module) and hasattr(argument, "recipe"):  # of the check
            argument = dict(argument.state_dict())
        return json.dumps(wire.encode(argument, self.keep))

    def ask(self, request: dict) -> dict:
        """{"value": ...} with what the function returns, or {"problem": [kind, text]}."""
        name, method = request["name"], request["method"]
        target = self.kept[name] if isinstance(name, int) else self.names.get(name, ...)
        if target is ...:
            return {"problem": ["unset" if name in self.names else "missing", ""]}
        if method is not None:
            target = getattr(target, method, None)
        sent = request["arguments"]
        is_code = callable(target) and not isinstance(target, torch.nn.Module)
        if not sent and not is_code:  # a variable
            return {"value": wire.encode(target, self.keep)}
        if not callable(target):
            return {"problem": ["not a function", type(target).__name__]}
        try:
            taken_away = taken.away(request["without"])
            with torch_state(), quiet(), taken_away, time_limit(request["seconds"]):
                arguments = [wire.decode(entry, self.kept.__getitem__) for entry in sent]
                before = [self.looks(argument) for argument in arguments]
                if request["gradient"]:
                    parameter, weights = wire.decode(request["gradient"], None)
                    by = target.get_parameter(parameter) if parameter else arguments[0]
                    by.requires_grad_()
                value = target(*arguments)
                if request["gradient"]:
                    value = value, gradient_of(value, by, weights)
                reply = {"value": wire.encode(value, self.keep)}
                after = [self.looks(argument) for argument in arguments]
        except (Exception, SystemExit, KeyboardInterrupt, TooSlow) as error:
            return {"problem": problem_of(error)}
        for place, (old, new) in enumerate(zip(before, after, strict=True), 1):
            if old != new:
                return {"problem": ["changed", str(place)]}
        return reply


_bench: Bench | None = None


def serve(names: dict[str, Any], request: str) -> str:
    """The kernel's side of the judge: a request, a reply. {"begin": true} starts a new check."""
    global _bench
    data = json.loads(request)
    if "begin" in data:
        _bench = Bench(names)
        return "{}"
    return json.dumps(_bench.ask(data))
