"""The lessons, for tests: each runs once a session, and only as far as a test asks."""

import contextlib
import functools
import os
from pathlib import Path
from typing import NamedTuple

import jupytext
import matplotlib
import torch
from matplotlib import pyplot

ROOT = Path(__file__).resolve().parent.parent


class State(NamedTuple):
    """What a lesson sets for all of PyTorch, and must not set for other tests."""

    dtype: torch.dtype
    random: torch.Tensor
    threads: int

    @classmethod
    def now(cls) -> "State":
        random = torch.random.get_rng_state()
        return cls(torch.get_default_dtype(), random, torch.get_num_threads())

    def set(self) -> None:
        torch.set_default_dtype(self.dtype)
        torch.random.set_rng_state(self.random)
        torch.set_num_threads(self.threads)


@contextlib.contextmanager
def state_kept():
    before = State.now()
    try:
        yield
    finally:
        before.set()


class Lesson:
    """`lesson["live_map"]` is what the first cell that defines `live_map` makes of it.

    The cells up to that one run when it is first asked for, none of them twice.
    All tests share what they made: a test that changes something takes a copy.
    """

    def __init__(self, number: str):
        (self.path,) = (ROOT / "source" / "lessons").glob(f"{number}_*.py")
        cells = jupytext.read(self.path, fmt="py:percent").cells
        self.waiting = [
            cell.source
            for cell in cells
            if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
        ]
        self.globals: dict = {"__name__": "lesson"}
        self.first: dict = {}
        self.state = State.now()
        self.run(self.waiting.pop(0))  # the imports, and the default dtype

    def __getitem__(self, name: str):
        while name not in self.first:
            if not self.waiting:
                raise KeyError(f"lesson {self.path.stem} never defines {name}")
            self.run(self.waiting[0])
            del self.waiting[0]  # a cell that fails fails every test that needs it
        return self.first[name]

    def run(self, source: str) -> None:
        folder = Path.cwd()
        with state_kept():
            self.state.set()
            matplotlib.use("Agg", force=True)
            os.chdir(ROOT / "notebooks")  # where its kernel would run
            try:
                exec(compile(source, str(self.path), "exec"), self.globals)
            finally:
                os.chdir(folder)
            self.state = State.now()
        pyplot.close("all")
        self.first = {**self.globals, **self.first}


@functools.cache
def lesson(number: str) -> Lesson:
    """The one run of lesson `number` ("05") in this process."""
    return Lesson(number)


def artists(live, name):
    """Those artists of a live figure that its function marked with this name."""
    return live.figure.findobj(lambda artist: artist.get_gid() == name)
