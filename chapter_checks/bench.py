"""Where a student's code runs: on copies, quietly, for a limited time. Local in a notebook, in its kernel when judged."""

import contextlib
import io
import json
import signal
import sys
import threading
import traceback
import warnings
from typing import Any

import torch

from . import wire


class TooSlow(BaseException):
    """Not an Exception, so that a student's `except Exception` does not swallow it."""


@contextlib.contextmanager
def time_limit(seconds: float):
    """Raise TooSlow after so many seconds; without effect on Windows and outside the main thread."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def ring(*_):
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(
        signal.ITIMER_REAL, max(seconds, 0.01), 0.5
    )  # rings again: the first may be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def quiet():
    """No print, figure, display or warning reaches the check cell: nbval compares its output."""
    try:
        from IPython import get_ipython
        from IPython.utils.capture import capture_output
    except ImportError:
        get_ipython = capture_output = None
    pyplot = sys.modules.get("matplotlib.pyplot")
    figures = set(pyplot.get_fignums()) if pyplot else set()
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with contextlib.ExitStack() as stack:
        for context in (capture_output(),) if get_ipython and get_ipython() else silent:
            stack.enter_context(context)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        for number in set(pyplot.get_fignums()) - figures:
            pyplot.close(number)


@contextlib.contextmanager
def torch_state():
    """float64 inside; afterwards default dtype, grad mode and random numbers are as before."""
    dtype, grad, random = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.random.get_rng_state(),
    )
    torch.set_default_dtype(torch.float64)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.random.set_rng_state(random)


def own_line(error: BaseException) -> str:
    """The line of the student's notebook in which the error happened."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "ipykernel" in frame.filename or frame.filename.startswith("<"):
            return f" (line {frame.lineno} of its cell" + (
                f": {frame.line.strip()})" if frame.line else ")"
            )
    return ""


class Bench:
    """Answers requests about the names of one notebook. A request and its reply are dictionaries of JSON."""

    def __init__(self, names: dict[str, Any]):
        self.names, self.kept = names, []

    def keep(self, value: Any) -> int | None:
        if not callable(value) or isinstance(value, type):
            return None
        self.kept.append(value)
        return len(self.kept) - 1

    def answer(self, request: dict) -> dict:
        """{"value": ...} with what the student's function returns, or {"problem": [kind, text]}."""
        name, method = request["name"], request["method"]
        target = self.kept[name] if isinstance(name, int) else self.names.get(name, ...)
        if target is ...:
            return {"problem": ["unset" if name in self.names else "missing", ""]}
        if method is not None:
            target = getattr(target, method, None)
        sent, arguments = (
            request["arguments"],
            [wire.decode(entry, self.kept.__getitem__) for entry in request["arguments"]],
        )
        if not sent and (not callable(target) or isinstance(target, torch.nn.Module)):  # a variable
            return {"value": wire.encode(target, self.keep)}
        if not callable(target):
            return {"problem": ["not a function", type(target).__name__]}
        try:
            with torch_state(), quiet(), time_limit(request["seconds"]):
                if request["gradient"]:
                    arguments[0].requires_grad_()
                value = target(*arguments)
                if request["gradient"]:
                    value = value, self.gradient(value, arguments[0])
                reply = {"value": wire.encode(value, self.keep)}
        except TooSlow:
            return {"problem": ["too slow", ""]}
        except RecursionError:
            return {"problem": ["RecursionError", "it calls itself without end"]}
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if isinstance(error, NotImplementedError) and str(error).startswith("Exercise "):
                return {"problem": ["stub", str(error)]}
            text = (str(error).splitlines() or [""])[0][:160]
            return {"problem": [type(error).__name__, text + own_line(error)]}
        for k, (entry, argument) in enumerate(zip(sent, arguments, strict=True)):
            if isinstance(argument, torch.Tensor) and wire.encode(argument) != entry:
                return {"problem": ["changed", str(k + 1)]}
        return reply

    @staticmethod
    def gradient(value: Any, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            raise TypeError("no gradient reaches the input through the result")
        (gradient,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
        return torch.zeros_like(x) if gradient is None else gradient


_bench: Bench | None = None


def serve(names: dict[str, Any], request: str) -> str:
    """The kernel's side of the judge: one request, one reply, both JSON. {"begin": true} starts a new check."""
    global _bench
    data = json.loads(request)
    if "begin" in data:
        _bench = Bench(names)
        return "{}"
    return json.dumps(_bench.answer(data))
